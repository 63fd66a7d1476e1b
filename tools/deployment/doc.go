// Package deployment has tests for what is in deploy/: alerts, the dashboard, and the manifests for Kubernetes. It is a
// module of its own, so that the service has nothing to do with the many packages that know these formats.
package deployment
