//go:build !race

package demo_test

// asTests are the flags with which the program is built as these tests are.
var asTests []string
