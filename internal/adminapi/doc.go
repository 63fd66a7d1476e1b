// Package adminapi is what operators, and programs of theirs, use to look into a node, and to have collectors made. It is
// an HTTP API, described by an OpenAPI document that is made of the code; chapter operations.md, section 5.
//
// # The way of a request
//
//	observe: measured, logged ─▶ CORS ─▶ rate limit ─▶ gate ─▶ routes ─▶ identity ─▶ input ─▶ operation
//
// The gate knows methods and paths only. It tells what a request needs, as a proxy in front of swpt_trade would; has the
// request wait until not too many others are served; has its token introspected; and compares scopes. A path that could
// be read in several ways, with dots or escapes, gets no further. Behind the gate, each operation compares the scope
// again with the one that it was declared with, so that a mistake in either of them lets nobody in.
//
// Whatever is wrong ends in an [Error], as JSON.
package adminapi
