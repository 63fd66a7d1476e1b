// Package fetch downloads documents over HTTPS from servers that nobody has a reason to trust.
//
// Addresses come from the issuers of currencies and, along chains of pegs, from anybody, while the requests come from
// inside of the operator's network. So the client goes to public addresses only, which it checks when it connects, and
// for every redirect anew; it limits the time of the whole exchange, the size of what it reads, and the connections to
// one host; and it sends nothing that it has not been told to send. It follows section 6 of the chapter about
// currencies.
package fetch
