package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/circular-trade/circular-trade/internal/swpt"
)

// A rule is about the values of some variables. It is applied if the settings have all of them, and none of them has
// failed by itself.
type rule struct {
	variables []string // the first one is named as the culprit
	verdict   func(v values) (reason string)
}

// values returns the value of a variable by its name.
type values func(variable string) any

func (v values) boolean(name string) bool               { return v(name).(bool) }
func (v values) duration(name string) time.Duration     { return v(name).(time.Duration) }
func (v values) creditorID(name string) swpt.CreditorID { return v(name).(swpt.CreditorID) }

// reasonIf is the verdict that is the reason if the condition holds, and empty otherwise.
func reasonIf(broken bool, reason string) string {
	if broken {
		return reason
	}
	return ""
}

// rules are what has to hold.
var rules = []rule{
	{[]string{"MIN_COLLECTOR_ID", "MAX_COLLECTOR_ID"}, func(v values) string {
		lowest, highest := v.creditorID("MIN_COLLECTOR_ID"), v.creditorID("MAX_COLLECTOR_ID")
		sound := lowest <= highest && (lowest > 0 || highest < 0)
		return reasonIf(!sound, "the collector ID range is empty or crosses zero")
	}},
	{[]string{"OWNER_CREDITOR_ID", "MIN_COLLECTOR_ID", "MAX_COLLECTOR_ID"}, func(v values) string {
		owner := v.creditorID("OWNER_CREDITOR_ID")
		isCollector := v.creditorID("MIN_COLLECTOR_ID") <= owner && owner <= v.creditorID("MAX_COLLECTOR_ID")
		return reasonIf(isCollector, "must not be a collector ID")
	}},
	{[]string{"MIN_TRADE_AMOUNT"}, func(v values) string {
		return reasonIf(v("MIN_TRADE_AMOUNT").(int64) < 10, "too small, rounding errors would dominate")
	}},
	{[]string{"APP_LOCATOR_CLAIM_EXPIRY_DAYS", "APP_DEBTOR_INFO_EXPIRY_DAYS"}, func(v values) string {
		tooShort := v.duration("APP_LOCATOR_CLAIM_EXPIRY_DAYS")/5 < v.duration("APP_DEBTOR_INFO_EXPIRY_DAYS")
		return reasonIf(tooShort, "must be at least 5 times APP_DEBTOR_INFO_EXPIRY_DAYS")
	}},
	{[]string{"APP_INTEREST_RATE_HISTORY_PERIOD", "APP_TURN_MAX_COMMIT_PERIOD"}, func(v values) string {
		tooShort := v.duration("APP_INTEREST_RATE_HISTORY_PERIOD") < v.duration("APP_TURN_MAX_COMMIT_PERIOD")
		return reasonIf(tooShort, "must not be shorter than APP_TURN_MAX_COMMIT_PERIOD")
	}},
	{[]string{"APP_CREDITOR_SUBJECT_REGEX"}, func(v values) string {
		compiled := v("APP_CREDITOR_SUBJECT_REGEX").(SubjectRegex).compiled
		return reasonIf(compiled == nil || compiled.NumSubexp() == 0, "must have a group, for the creditor ID")
	}},
}

// cautions are what should hold. Whatever does not is a reason for a warning.
var cautions = []rule{
	{[]string{"SQLALCHEMY_ENGINE_OPTIONS"}, func(v values) string {
		ignored := v("SQLALCHEMY_ENGINE_OPTIONS").(PoolOptions).ignored
		return reasonIf(len(ignored) > 0, "ignored: "+strings.Join(ignored, ", "))
	}},
	{[]string{"BASE_DEBTOR_INFO_LOCATOR"}, func(v values) string {
		return reasonIf(v("BASE_DEBTOR_INFO_LOCATOR").(string) == "", "empty: no currency will have a price")
	}},
	{
		[]string{"APP_ROLL_WORKER_TURNS_WAIT", "OFFERS_POURING_DURATION", "APP_TURN_PHASE_CUSHION_PERIOD"},
		func(v values) string {
			lead := v.duration("APP_TURN_PHASE_CUSHION_PERIOD")
			if pouring := v("OFFERS_POURING_DURATION").(*time.Duration); pouring != nil {
				lead = *pouring
			}
			return reasonIf(v.duration("APP_ROLL_WORKER_TURNS_WAIT") > lead, fmt.Sprintf(
				"longer than the last %v of phase 2, in which offers are handed in: turns will be missed", lead))
		},
	},
	{[]string{"APP_VERIFY_SSL_CERTS"}, func(v values) string {
		return reasonIf(!v.boolean("APP_VERIFY_SSL_CERTS"), "certificates of servers are not verified")
	}},
	{[]string{"APP_HTTP_FETCH_ALLOW_PRIVATE", "APP_VERIFY_SSL_CERTS"}, func(v values) string {
		fetch := Fetch{
			PrivateAddresses: v("APP_HTTP_FETCH_ALLOW_PRIVATE").(*bool),
			VerifyCerts:      v.boolean("APP_VERIFY_SSL_CERTS"),
		}
		return reasonIf(fetch.AllowPrivate(), "documents are fetched from private addresses, too")
	}},
	{[]string{"APP_UNPROTECTED_ADMIN_API"}, func(v values) string {
		return reasonIf(v.boolean("APP_UNPROTECTED_ADMIN_API"), "everybody can do everything with the admin API")
	}},
}

// applyRules finds what is wrong with several values at once, and returns what should be warned of.
func (l *loading) applyRules() []Warning {
	value := func(name string) any { return l.byName[name].field.Interface() }
	var broken []rule
	for _, r := range rules {
		if l.concerns(r) && r.verdict(value) != "" {
			broken = append(broken, r)
		}
	}
	// Only now, so that no rule hides another one.
	for _, r := range broken {
		l.byName[r.variables[0]].fail(r.verdict(value))
	}
	var warnings []Warning
	for _, r := range cautions {
		if !l.concerns(r) {
			continue
		}
		if text := r.verdict(value); text != "" {
			warnings = append(warnings, Warning{r.variables[0], text})
		}
	}
	return warnings
}

// concerns reports whether the rule can be applied. There is nothing to say about a value that is missing with
// permission.
func (l *loading) concerns(r rule) bool {
	for _, name := range r.variables {
		if v := l.byName[name]; v == nil || v.failed != nil || v.Required && v.origin == FromNowhere {
			return false
		}
	}
	return true
}
