package calmcp_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const unknownCall = `{"jsonrpc":"2.0","id":%s,"method":"no/such","params":{"a":1}}`

// Methods that there are not are refused with JSON-RPC's error, and notifications of such ignored.
func TestUnknownMethods(t *testing.T) {
	w := newWorld(t, nil)
	for _, version := range revisions {
		c := w.connect("ann", version)
		for _, id := range []string{`"x"`, "7"} {
			got := c.send(fmt.Sprintf(unknownCall, id))
			want := `{"error":{"code":-32601,"message":"Method not found: no/such"},"id":` + id + `,"jsonrpc":"2.0"}`
			if got.status != 200 || got.header.Get("Content-Type") != "application/json" || got.body != want {
				t.Errorf("%s: a call = %d %s, want %s", version, got.status, got.body, want)
			}
		}
		for _, method := range []string{"notifications/no/such", "no/such", "notifications/elicitation/complete"} {
			if got := c.send(`{"jsonrpc":"2.0","method":"` + method + `"}`); got.status != 202 || got.body != "" {
				t.Errorf("%s: notification %s = %d %s", version, method, got.status, got.body)
			}
		}
		if got := c.tool("who"); !strings.Contains(got, "ann in") {
			t.Errorf("%s: afterwards who = %s", version, got)
		}
		for _, body := range []string{fmt.Sprintf(unknownCall, "1"), `{"jsonrpc":"2.0","method":"no/such"}`} {
			if got := w.do(w.request("POST", "/mcp", "bob", c.session, version, body)); got.status != 404 {
				t.Errorf("%s: another's %s = %d %s", version, body, got.status, got.body)
			}
		}
		for _, body := range []string{"[]", "1", `"x"`, "null"} {
			if got := c.send(body); got.status != 400 || !strings.Contains(got.body, "-32600") {
				t.Errorf("%s: %s = %d %s, want -32600", version, body, got.status, got.body)
			}
		}
		if got := c.send("{"); got.status != 400 || !strings.Contains(got.body, "-32700") {
			t.Errorf("%s: no JSON = %d %s", version, got.status, got.body)
		}
	}
}

// In a batch the others are answered.
func TestUnknownMethodsInABatch(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect("ann", "2025-03-26")
	got := c.send(`[{"jsonrpc":"2.0","id":1,"method":"ping"},` + fmt.Sprintf(unknownCall, `"x"`) + `,{"jsonrpc":"2.0","method":"notifications/x"},` +
		fmt.Sprintf(unknownCall, "2") + `]`)
	var answers []string
	for _, m := range got.messages() {
		answers = append(answers, canonical(m))
	}
	slices.Sort(answers)
	want := []string{
		`{"error":{"code":-32601,"message":"method not found: \"unknown\""},"id":"x","jsonrpc":"2.0"}`,
		`{"error":{"code":-32601,"message":"method not found: \"unknown\""},"id":2,"jsonrpc":"2.0"}`,
		`{"id":1,"jsonrpc":"2.0","result":{}}`,
	}
	slices.Sort(want)
	if got.status != 200 || !slices.Equal(answers, want) {
		t.Errorf("a batch = %d %q, want %q", got.status, answers, want)
	}
	if got := c.send(`[{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","method":"notifications/y"}]`); got.status != 202 {
		t.Errorf("a batch of nothing = %d %s", got.status, got.body)
	}
}

func TestUnknownMethodsOverSSE(t *testing.T) {
	w := newWorld(t, nil)
	stream := w.listen(w.request("GET", "/sse", "ann", "", "", ""))
	endpoint := stream.next().data
	send := func(user, body string, want int) {
		t.Helper()
		if r := w.do(w.request("POST", endpoint, user, "", "", body)); r.status != want {
			t.Errorf("%s of %s = %d %s, want %d", body, user, r.status, r.body, want)
		}
	}
	send("ann", fmt.Sprintf(initializeBody, "2024-11-05"), http.StatusAccepted)
	stream.next()
	send("ann", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, http.StatusAccepted)
	send("ann", `{"jsonrpc":"2.0","method":"notifications/x"}`, http.StatusAccepted)
	send("bob", `{"jsonrpc":"2.0","method":"notifications/x"}`, http.StatusNotFound)
	send("bob", fmt.Sprintf(unknownCall, "7"), http.StatusNotFound)
	send("ann", fmt.Sprintf(unknownCall, "7"), http.StatusAccepted)
	if e := stream.next(); !strings.Contains(e.data, "-32601") || !strings.Contains(e.data, `"id":7`) || !strings.Contains(e.data, "no/such") {
		t.Errorf("answer %+v", e)
	}
}
