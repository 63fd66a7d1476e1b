// Package report shows the outcome of a clearing as a web page: one HTML file that needs nothing else, no network
// included.
//
// The work is split in two. The model, built by [Write] from what the solver knows, is plain data: the headline
// numbers, the forest of pegs, a column of numbers for each property of a currency, the distribution and the largest
// of the rings, and what limited the market. It holds a bounded number of rings, however many the solver yields, and
// it is all that the page sees. The page, in the folder assets, is a template with one style sheet and one script.
// The template renders words and headline numbers, so these are there without the script too; the script draws the
// charts, tables and the tree from the rest of the model, which the page carries as JSON.
//
// Locators come from strangers, hence are hostile: they reach the page only as escaped JSON and escaped text, the
// script puts them into text nodes, and a content security policy allows nothing but the two embedded assets. IDs and
// amounts exceed what a JavaScript number can hold, and travel as strings.
package report
