// Package web is what people and programs reach over HTTP: the REST API under /api/v1 (package api), the event stream behind it (package live) and the pages
// (package dashboard), behind one set of checks.
//
//	request ─► headers ─► host ─► who asks (token, session) ─► cross-origin ─► read-only ─► /api/v1/… api
//	                                                                                     └► /…       dashboard
//
// Everything goes through package client; there is no other way to the store. The package opens no store and reads no configuration: that is for cli.
package web
