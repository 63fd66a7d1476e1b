// Package coininfo reads debtor info documents: what issuers publish about their currencies. The one format that the
// service knows is CoinInfo, a JSON object of the media type [MediaType].
//
// Documents come from anybody, so nothing in them is taken on trust: what the service uses is checked to the letter,
// and everything else, such as names and units for display, is not even looked at. It follows section 2 of the chapter
// about currencies.
package coininfo
