// Package policy keeps what the creditors agent tells of its customers' accounts: how many tokens there are, how many
// the customer wants there to be, and what the account's flags say. Trading turns are about these policies. See section 4
// of the chapter about turns.
package policy
