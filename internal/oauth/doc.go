// Package oauth finds out what OAuth 2.0 access tokens stand for, by asking the server that has issued them: token
// introspection, RFC 7662.
//
// What the server says about an active token is remembered for a few minutes, so a token that is revoked can be used for
// [CacheTime] longer. Nothing else is remembered, and whatever is not a clear answer is [ErrUnavailable]: nobody gets in
// because something has failed.
//
// What a token allows is not decided here. That has to be looked at in every request.
package oauth
