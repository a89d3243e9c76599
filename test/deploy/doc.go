// Package deploy checks what is in the folder deploy: the Kubernetes manifests against Kubernetes' own types and against each other, the systemd units with systemd's own
// verifier. It is a module of its own, so that Kubernetes stays out of the product's dependencies; "make test" runs it.
package deploy
