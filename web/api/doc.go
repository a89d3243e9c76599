// Package api is the REST API: the acts and views of package client, as JSON over HTTP, described by the OpenAPI 3.1 document that it serves itself at
// /api/v1/openapi.json.
//
// What it answers is what the command line prints with --output json: the views of package client, byte for byte the same fields. What it refuses is refused with
// the same sentence, which names fields where the command line names flags, as problem details (RFC 9457) with a code (client.CodeOf). Input is read strictly: unknown
// and repeated fields and parameters are refused.
//
//	huma ── routes, reads parameters, writes answers, makes the document
//	strict.go ── reads bodies and checks parameters, so that errors are ours
//	schema.go ── schemas of the client's types, which write their own JSON
//
// It decides nothing, keeps nothing, and lets everybody in: who may ask is for package web.
package api
