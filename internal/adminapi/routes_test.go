package adminapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/adminapi"
)

func TestActivateCollectors(t *testing.T) {
	t.Parallel()
	n := newMigratedNode(t)
	const path, alive = "/trade/collectors/18446744073709551615/activate", "SELECT count(*) FROM collector_account WHERE debtor_id = -1"
	activate := func(body string, code, want int) {
		t.Helper()
		r := n.root("POST", path, body).must(t, code)
		if code == 204 && r.Body.Len() > 0 {
			t.Errorf("the body is %s", r.Body)
		}
		if got := n.count(t, alive); got != want {
			t.Errorf("%s: there are %d collectors, want %d", body, got, want)
		}
	}
	activate("", 204, 1)
	activate("{}", 204, 1)
	activate(`{"type":"ActivateCollectorsRequest","numberOfAccounts":3}`, 204, 3)
	activate(`{"numberOfAccounts":2}`, 204, 3)
	activate(`{"numberOfAccounts":7}`, 500, 3)
	activate(`{"numberOfAccounts":9223372036854775807}`, 500, 3)
	n.root("POST", path, `{"numberOfAccounts":7}`).
		mustBe(t, `{"code":500,"status":"Internal Server Error","message":"the range of collector IDs is too small"}`)
	n.root("POST", path, `{"numberOfAccounts":9223372036854775807}`).
		mustBe(t, `{"code":500,"status":"Internal Server Error","message":"no debtor needs more than 1048576 collectors"}`)
	n.exec(t, "UPDATE collector_account SET status = 3 WHERE collector_id = (SELECT min(collector_id) FROM collector_account)")
	activate(`{"numberOfAccounts":2}`, 204, 3)
	activate(`{"numberOfAccounts":6}`, 500, 3)
	activate(`{"numberOfAccounts":5}`, 204, 6)
	if got := n.count(t, "SELECT count(*) FROM collector_account WHERE status = 0 AND account_id = '' AND collector_id BETWEEN "+
		strconv.Itoa(poolFirst)+" AND "+strconv.Itoa(poolLast)); got != 5 {
		t.Errorf("%d are planned", got)
	}
	r := n.root("POST", path, `{"x":1,"numberOfAccounts":0}`).must(t, 422)
	r.mustBe(t, `{"code":422,"status":"Unprocessable Entity","message":"the body does not make sense",
		"errors":{"json":{"numberOfAccounts":["must be an integer from 1 to 2^63-1"],"x":["there is no such member"]}}}`)
	n.root("POST", "/trade/collectors/0/activate", "").must(t, 500)
	n.root("POST", "/trade/collectors/0/activate", "{").must(t, 400)
	for _, id := range []string{"18446744073709551616", "99999999999999999999", "123456789012345678901", "01", "-1", "+1", "1.0", "0x1", "x", "١"} {
		n.root("POST", "/trade/collectors/"+id+"/activate", "").must(t, 404)
		n.root("GET", "/trade/collectors/"+id, "").must(t, 404)
	}
	if got := n.count(t, "SELECT count(*) FROM collector_account"); got != 6 {
		t.Errorf("there are %d collectors", got)
	}
	if !strings.Contains(n.log.String(), `"msg":"collectors have been planned on request","debtor_id":-1,"added":3,"identity":"root","role":"superuser"`) {
		t.Errorf("the log is %s", &n.log)
	}
}

// As long as it is not known whether the database is used with the same collector IDs, none are added.
func TestPoolOfOthers(t *testing.T) {
	t.Parallel()
	var claim error
	n := newMigratedNode(t, func(c *adminapi.Config) { c.ClaimPool = func(context.Context) error { return claim } })
	claim = errors.New("the database belongs to others")
	n.root("POST", "/trade/collectors/9/activate", "").must(t, 500)
	if got := n.count(t, "SELECT count(*) FROM collector_account"); got != 0 {
		t.Errorf("there are %d collectors", got)
	}
	claim = nil
	n.root("POST", "/trade/collectors/9/activate", "").must(t, 204)
}

func TestListCollectors(t *testing.T) {
	t.Parallel()
	n := newMigratedNode(t)
	n.exec(t, `INSERT INTO collector_account SELECT -1, -10 + i, 0, 'account-' || i, i % 4, $1 FROM generate_series(0, 9) AS i`, now)
	n.exec(t, `INSERT INTO collector_account SELECT 2, i, 0, '', 0, $1 FROM generate_series(1, 150) AS i`, now)
	const path = "/trade/collectors/18446744073709551615"
	n.root("GET", path+"?limit=2", "").must(t, 200).mustBe(t, `{"type":"CollectorsList","debtorId":"18446744073709551615","collectors":[
		{"collectorId":"18446744073709551606","status":0,"statusName":"pristine","accountId":"account-0","latestStatusChangeAt":"2026-01-31T12:00:00Z"},
		{"collectorId":"18446744073709551607","status":1,"statusName":"requested","accountId":"account-1","latestStatusChangeAt":"2026-01-31T12:00:00Z"}],
		"next":"18446744073709551607"}`)
	n.root("GET", path+"?limit=2&after=18446744073709551613", "").must(t, 200).mustBe(t, `{"type":"CollectorsList",
		"debtorId":"18446744073709551615","collectors":[
		{"collectorId":"18446744073709551614","status":0,"statusName":"pristine","accountId":"account-8","latestStatusChangeAt":"2026-01-31T12:00:00Z"},
		{"collectorId":"18446744073709551615","status":1,"statusName":"requested","accountId":"account-9","latestStatusChangeAt":"2026-01-31T12:00:00Z"}]}`)
	n.root("GET", "/trade/collectors/7", "").must(t, 200).mustBe(t, `{"type":"CollectorsList","debtorId":"7","collectors":[]}`)
	n.root("GET", "/trade/collectors/2?after=9223372036854775807", "").must(t, 200).mustBe(t, `{"type":"CollectorsList","debtorId":"2","collectors":[]}`)
	for query, want := range map[string]int{"": 100, "?limit=1000": 150, "?limit=1": 1, "?limit=150": 150, "?after=149": 1} {
		var list adminapi.CollectorsList
		r := n.root("GET", "/trade/collectors/2"+query, "").must(t, 200)
		if err := json.Unmarshal(r.Body.Bytes(), &list); err != nil || len(list.Collectors) != want || (list.Next == "") != (want == 150 || query == "?after=149") {
			t.Errorf("%s: %d collectors, then %q, %v", query, len(list.Collectors), list.Next, err)
		}
	}
	for _, query := range []string{"limit=0", "limit=1001", "limit=x", "limit=-1", "limit=1.5", "after=x", "after=-1", "after=18446744073709551616"} {
		r := n.root("GET", path+"?"+query, "").must(t, 422)
		name, _, _ := strings.Cut(query, "=")
		if !strings.Contains(r.Body.String(), `"errors":{"query":{"`+name+`":["`) {
			t.Errorf("%s: %s", query, r.Body)
		}
	}
}

func TestTurns(t *testing.T) {
	t.Parallel()
	n := newMigratedNode(t)
	n.root("GET", "/trade/turns", "").must(t, 200).mustBe(t, `{"type":"TurnsList","turns":[]}`)
	n.root("GET", "/trade/turns/1", "").must(t, 404)
	n.exec(t, `INSERT INTO turn SELECT i, $1, 'https://example.com', -1, 10, 1000, 4, NULL, $1, $1 FROM generate_series(1, 25) AS i`, now)
	n.exec(t, `UPDATE turn SET phase = 2, phase_deadline = $1, collection_started_at = NULL WHERE turn_id = 25`, now.Add(-90*time.Second))
	n.exec(t, `UPDATE turn SET phase = 3, phase_deadline = $1 WHERE turn_id = 24`, now.Add(-90*time.Second))
	n.exec(t, `UPDATE turn SET phase = 1, phase_deadline = $1 WHERE turn_id = 23`, now.Add(time.Second))
	turn25 := `{"type":"Turn","turnId":"25","phase":2,"startedAt":"2026-01-31T12:00:00Z","phaseDeadline":"2026-01-31T11:58:30Z",
		"collectionDeadline":"2026-01-31T12:00:00Z","baseDebtorId":"18446744073709551615","baseDebtorInfoLocator":"https://example.com",
		"maxDistanceToBase":10,"minTradeAmount":1000,"overdueSeconds":90`
	turn24 := `{"type":"Turn","turnId":"24","phase":3,"startedAt":"2026-01-31T12:00:00Z","phaseDeadline":"2026-01-31T11:58:30Z",
		"collectionStartedAt":"2026-01-31T12:00:00Z","collectionDeadline":"2026-01-31T12:00:00Z","baseDebtorId":"18446744073709551615",
		"baseDebtorInfoLocator":"https://example.com","maxDistanceToBase":10,"minTradeAmount":1000,"overdueSeconds":0`
	n.root("GET", "/trade/turns?limit=2", "").must(t, 200).mustBe(t,
		`{"type":"TurnsList","turns":[`+turn25+`},`+turn24+`}],"next":"24"}`)
	for query, want := range map[string]string{
		"": "25-6 next 6", "?limit=100": "25-1 next ", "?before=6": "5-1 next ", "?before=6&limit=5": "5-1 next ", "?before=3&limit=1": "2-2 next 2",
	} {
		var list adminapi.TurnsList
		r := n.root("GET", "/trade/turns"+query, "").must(t, 200)
		if err := json.Unmarshal(r.Body.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s-%s next %s", list.Turns[0].TurnID, list.Turns[len(list.Turns)-1].TurnID, list.Next)
		if got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	for _, query := range []string{"limit=0", "limit=101", "before=x", "before=-1", "before=2147483648"} {
		n.root("GET", "/trade/turns?"+query, "").must(t, 422)
	}
	for _, id := range []string{"0", "26", "2147483647", "2147483648", "x", "-1", "01"} {
		n.root("GET", "/trade/turns/"+id, "").must(t, 404)
	}
	n.addRows(t)
	n.root("GET", "/trade/turns/24", "").must(t, 200).mustBe(t, turn24+`,"pending":{
		"debtor_info":1,"confirmed_debtor":2,"currency_info":3,"sell_offer":4,"buy_offer":5,
		"creditor_taking":3,"creditor_giving":3,"collector_collecting":3,"collector_sending":3,"collector_receiving":3,"collector_dispatching":3,
		"byPrefix":{
			"creditor_taking":{"0000":1,"1010":1,"1111":1},"creditor_giving":{"0000":1,"1010":1,"1111":1},
			"collector_collecting":{"0000":1,"1010":1,"1111":1},"collector_sending":{"0000":1,"1010":1,"1111":1},
			"collector_receiving":{"0000":1,"1010":1,"1111":1},"collector_dispatching":{"0000":1,"1010":1,"1111":1}}}}`)
	n.root("GET", "/trade/turns/25", "").must(t, 200).mustBe(t, turn25+`,"pending":{
		"debtor_info":1,"confirmed_debtor":0,"currency_info":0,"sell_offer":0,"buy_offer":0,
		"creditor_taking":0,"creditor_giving":0,"collector_collecting":0,"collector_sending":0,"collector_receiving":0,"collector_dispatching":0,
		"byPrefix":{"creditor_taking":{},"creditor_giving":{},"collector_collecting":{},"collector_sending":{},
			"collector_receiving":{},"collector_dispatching":{}}}}`)
}

// addRows adds rows to all tables of turn 24, and one to another turn.
func (n *node) addRows(t *testing.T) {
	t.Helper()
	for _, rows := range []string{
		"debtor_info SELECT i, 'a', 1 FROM generate_series(24, 25) AS i",
		"confirmed_debtor SELECT 24, i, 'a' FROM generate_series(1, 2) AS i",
		"currency_info SELECT 24, i::TEXT, i, NULL, NULL, NULL, false FROM generate_series(1, 3) AS i",
		"sell_offer SELECT 24, i, 1, 1, 1 FROM generate_series(1, 4) AS i",
		"buy_offer SELECT 24, i, 1, 1 FROM generate_series(1, 5) AS i",
	} {
		n.exec(t, "INSERT INTO "+rows)
	}
	for i, hash := range []int16{0x0fff, -0x5001, -1} { // the prefixes are 0000, 1010, 1111
		n.exec(t, "INSERT INTO creditor_taking VALUES (24, $1, 1, $2, 1, 1)", i, hash)
		n.exec(t, "INSERT INTO creditor_giving VALUES (24, $1, 1, $2, 1, 1)", i, hash)
		n.exec(t, "INSERT INTO collector_collecting VALUES (24, 1, $1, 1, 1, $2)", i, hash)
		n.exec(t, "INSERT INTO collector_dispatching VALUES (24, 1, $1, 1, 1, $2)", i, hash)
		n.exec(t, "INSERT INTO collector_sending VALUES (24, 1, $1, 9, $2, 1)", i, hash)
		n.exec(t, "INSERT INTO collector_receiving VALUES (24, 1, $1, 9, $2, 1)", i, hash)
	}
}

func TestWorkers(t *testing.T) {
	t.Parallel()
	n := newMigratedNode(t)
	n.root("GET", "/trade/workers", "").must(t, 200).mustBe(t, `{"type":"WorkersList","workers":[]}`)
	n.exec(t, `INSERT INTO turn SELECT i, $1, 'x', -1, 10, 1000, 4, $1, $1, $1 FROM generate_series(1, 4) AS i`, now)
	n.exec(t, `UPDATE turn SET phase = 3 WHERE turn_id = 3`)
	n.exec(t, `UPDATE turn SET phase = 2 WHERE turn_id = 4`)
	const insert = `INSERT INTO trade_worker_report VALUES ($1, 'v1', $2, $3, $4, $5, $6, $7, 1, 2, 3)`
	n.exec(t, insert, "0.#", now.Add(-90*time.Second), 4, 2, 5, `{"AccountUpdate":7}`, `{"AccountUpdate":"2026-01-31T11:00:00Z"}`)
	n.exec(t, insert, "1.0.#", now.Add(-30*24*time.Hour), nil, nil, nil, `{}`, `{}`)
	n.exec(t, insert, "1.1.#", now.Add(-30*24*time.Hour-time.Second), nil, nil, nil, `{}`, `{}`)
	n.root("GET", "/trade/workers", "").must(t, 200).mustBe(t, `{"type":"WorkersList","workers":[
		{"routingKey":"0.#","version":"v1","reportedAt":"2026-01-31T11:58:30Z","lagSeconds":90,"turnId":"4","phase":2,"subphase":5,
			"behindTurns":0,"outboxBacklog":{"AccountUpdate":7},"oldestOutboxAt":{"AccountUpdate":"2026-01-31T11:00:00Z"},
			"overdueFetches":1,"overdueTransferAttempts":2,"unfinishedDispatchings":3},
		{"routingKey":"1.0.#","version":"v1","reportedAt":"2026-01-01T12:00:00Z","lagSeconds":2592000,
			"behindTurns":2,"outboxBacklog":{},"oldestOutboxAt":{},"overdueFetches":1,"overdueTransferAttempts":2,"unfinishedDispatchings":3}]}`)
	if got := n.count(t, "SELECT count(*) FROM trade_worker_report"); got != 2 {
		t.Errorf("%d reports are kept", got)
	}
	var behind []int
	for _, at := range [][2]int{{4, 1}, {4, 2}, {3, 2}, {3, 3}, {5, 1}, {2, 3}} {
		n.exec(t, "UPDATE trade_worker_report SET turn_id = $1, phase = $2 WHERE routing_key = '0.#'", at[0], at[1])
		var list adminapi.WorkersList
		if err := json.Unmarshal(n.root("GET", "/trade/workers", "").must(t, 200).Body.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		behind = append(behind, list.Workers[0].BehindTurns)
	}
	if !slices.Equal(behind, []int{1, 0, 2, 1, 0, 2}) {
		t.Errorf("the worker is behind in %v turns", behind)
	}
	n.exec(t, "DROP TABLE trade_worker_report")
	n.root("GET", "/trade/workers", "").must(t, 500)
}
