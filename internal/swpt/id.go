// Package swpt names the things of a Swaptacular network: debtors (currencies) and creditors (traders, collectors
// included), each known by a 64-bit ID.
package swpt

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A DebtorID identifies a currency through its issuer. Zero is not the ID of any currency that can be traded.
type DebtorID int64

// A CreditorID identifies a holder of accounts: a trader, or one of the service's own collectors. Collectors are
// creditors like all others, so the "collector_id" of messages, tables and files is a CreditorID too.
type CreditorID int64

// ErrInvalidID tells that a text is not a 64-bit ID.
var ErrInvalidID = errors.New("not a 64-bit ID")

// ParseID reads an ID in any form that people and other programs write: signed decimal ("-2"), unsigned decimal
// ("18446744073709551614"), or hexadecimal with the prefix 0x ("0xfffffffffffffffe"). The three examples are the same
// ID: values from 2^63 on are read as two's complement.
func ParseID(text string) (int64, error) {
	if hex, ok := strings.CutPrefix(strings.ToLower(text), "0x"); ok {
		return parseUnsigned(text, hex, 16)
	}
	if strings.HasPrefix(text, "-") {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, invalidID(text, err)
		}
		return id, nil
	}
	return parseUnsigned(text, text, 10)
}

func parseUnsigned(text, digits string, base int) (int64, error) {
	id, err := strconv.ParseUint(digits, base, 64)
	if err != nil {
		return 0, invalidID(text, err)
	}
	return int64(id), nil
}

func invalidID(text string, err error) error {
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%q is %w: it is out of range", text, ErrInvalidID)
	}
	return fmt.Errorf("%q is %w", text, ErrInvalidID)
}
