package smp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

const (
	uriScheme = "swpt:"

	maxDebtorDigits    = 20
	maxAccountIDLength = 100
	// maxAccountPathLength is the length of the Base64URL form of the longest account ID.
	maxAccountPathLength = 136
)

// ErrInvalidURI tells that a text is not a "swpt" URI, or that an account ID cannot be written as a part of one.
var ErrInvalidURI = errors.New("invalid swpt URI")

// DebtorURI returns the URI of a debtor (section 8.1): negative IDs are written as unsigned numbers.
func DebtorURI(id swpt.DebtorID) string {
	return uriScheme + strconv.FormatUint(uint64(id), 10)
}

// ParseDebtorURI returns the debtor whom a URI stands for (section 8.1). Errors wrap [ErrInvalidURI].
func ParseDebtorURI(uri string) (swpt.DebtorID, error) {
	digits, ok := strings.CutPrefix(uri, uriScheme)
	if !ok {
		return 0, fmt.Errorf("%w %.200q: it must begin with %q", ErrInvalidURI, uri, uriScheme)
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || len(digits) > maxDebtorDigits {
		return 0, fmt.Errorf("%w %.200q: %.30q is not an unsigned number of 64 bits", ErrInvalidURI, uri, digits)
	}
	return swpt.DebtorID(id), nil
}

// AccountURI returns the URI of an account, given the debtor and the account ID, which must have 1 to 100 characters,
// all of them ASCII (section 8.1). Errors wrap [ErrInvalidURI].
func AccountURI(id swpt.DebtorID, accountID string) (string, error) {
	if len(accountID) < 1 || len(accountID) > maxAccountIDLength || !isASCIIText(accountID) {
		return "", fmt.Errorf("%w: account ID %.200q has not 1 to %d ASCII characters", ErrInvalidURI, accountID, maxAccountIDLength)
	}
	path := accountID
	if !isPlain(accountID) {
		path = "!" + base64.URLEncoding.EncodeToString([]byte(accountID))
	}
	return DebtorURI(id) + "/" + path, nil
}

// ParseAccountURI returns the debtor and the account ID that a URI stands for (section 8.1). Errors wrap
// [ErrInvalidURI].
func ParseAccountURI(uri string) (id swpt.DebtorID, accountID string, err error) {
	debtor, path, ok := strings.Cut(uri, "/")
	if !ok {
		return 0, "", fmt.Errorf("%w %.200q: it has no account ID", ErrInvalidURI, uri)
	}
	if id, err = ParseDebtorURI(debtor); err != nil {
		return 0, "", err
	}
	accountID, encoded := strings.CutPrefix(path, "!")
	if len(accountID) < 1 || len(accountID) > maxAccountPathLength || !isPlain(accountID) {
		return 0, "", fmt.Errorf("%w %.200q: the account ID has impossible characters or length", ErrInvalidURI, uri)
	}
	if encoded {
		raw, err := base64.URLEncoding.DecodeString(accountID)
		// Comparing is stricter than decoding strictly: there is one way of writing each account ID.
		if err != nil || base64.URLEncoding.EncodeToString(raw) != accountID {
			return 0, "", fmt.Errorf("%w %.200q: the account ID is not in canonical Base64URL", ErrInvalidURI, uri)
		}
		accountID = string(raw)
	}
	if len(accountID) > maxAccountIDLength || !isASCIIText(accountID) {
		return 0, "", fmt.Errorf("%w %.200q: the account ID has more than %d characters, or others than ASCII",
			ErrInvalidURI, uri, maxAccountIDLength)
	}
	return id, accountID, nil
}

// isPlain tells whether an account ID can be a part of a URI as it is.
func isPlain(accountID string) bool {
	for i := range len(accountID) {
		if c := accountID[i]; !isLetterOrDigit(c) && c != '_' && c != '=' && c != '-' {
			return false
		}
	}
	return true
}
