package calmcp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/perdure/perdure/calendar/calmcp"
)

// modern is a request of the revision without sessions.
func (w *world) modern(user, method, params string) *http.Request {
	w.t.Helper()
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":"m1","method":%q,"params":{%s%s"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"}}}}`,
		method, params, map[bool]string{true: ",", false: ""}[params != ""])
	r := w.request("POST", "/mcp", user, "", "2026-07-28", body, "Mcp-Method", method)
	if _, name, ok := strings.Cut(params, `"name":"`); ok {
		name, _, _ = strings.Cut(name, `"`)
		r.Header.Set("Mcp-Name", name)
	}
	return r
}

func TestStateless(t *testing.T) {
	w := newWorld(t, nil)
	r := w.do(w.modern("ann", "server/discover", ""))
	if m := r.messages(); r.status != 200 || !strings.Contains(canonical(m), `"2026-07-28"`) {
		t.Errorf("discover: %d %s", r.status, r.body)
	}
	for range 3 {
		for _, user := range []string{"ann", "bob"} {
			if got := resultText(t, w.do(w.modern(user, "tools/call", `"name":"who","arguments":{}`))); got != user+" in " {
				t.Errorf("who as %s = %q", user, got)
			}
		}
	}
	if n := w.servers.Load(); n != 2 {
		t.Errorf("%d servers for two users' calls, want one each", n)
	}
	for _, class := range []string{calmcp.SessionClass, calmcp.UserClass} {
		if all := w.rt.Objects(class); len(all) > 0 {
			t.Errorf("stored of %s: %+v", class, all)
		}
	}
	for _, method := range []string{"GET", "DELETE"} {
		if r := w.do(w.request(method, "/mcp", "ann", "", "2026-07-28", "")); r.status != 405 {
			t.Errorf("%s: %d", method, r.status)
		}
	}
}

func TestListen(t *testing.T) {
	w := newWorld(t, nil)
	const both = `"notifications":{"resourceSubscriptions":["test://a"],"resourcesListChanged":true}`
	ann := w.listen(w.modern("ann", "subscriptions/listen", both))
	bob := w.listen(w.modern("bob", "subscriptions/listen", both))
	for _, s := range []*listener{ann, bob} {
		if e := s.next(); !strings.Contains(e.data, "acknowledged") {
			t.Fatalf("first message %+v", e)
		}
	}
	w.notify("ann", "test://b", "test://a")
	if e := ann.next(); !strings.Contains(e.data, `"uri":"test://a"`) || !strings.Contains(e.data, `subscriptionId":"m1"`) {
		t.Errorf("event %+v", e)
	}
	w.h.NotifyTouched(t.Context(), "ann", func(uri string) bool { return uri == "test://a" }, true)
	if e := ann.next(); !strings.Contains(e.data, `"uri":"test://a"`) {
		t.Errorf("event %+v", e)
	}
	if e := ann.next(); !strings.Contains(e.data, "resources/list_changed") {
		t.Errorf("event %+v", e)
	}
	w.notify("bob", "test://a")
	if e := bob.next(); !strings.Contains(e.data, `"uri":"test://a"`) {
		t.Errorf("event %+v", e)
	}
	list := w.do(w.modern("ann", "resources/list", ""))
	if strings.Contains(list.body, "perdure:") {
		t.Errorf("resources/list: %s", list.body)
	}
	// A call of the same user's other client, and of a session, tells the stream.
	resultText(t, w.do(w.modern("ann", "tools/call", `"name":"touch","arguments":{}`)))
	ann.next()
	w.connect("ann", "2025-11-25").tool("touch")
	ann.next()
}

// The client's leaving cancels a call.
func TestStatelessCancel(t *testing.T) {
	w := newWorld(t, nil)
	r := w.modern("ann", "tools/call", `"name":"wait","arguments":{}`)
	ctx, cancel := contextOf(r)
	go http.DefaultClient.Do(r.WithContext(ctx))
	<-w.started
	cancel()
	if err := <-w.ended; err == nil {
		t.Error("the call was not told to end")
	}
}

func TestLegacySSE(t *testing.T) {
	w := newWorld(t, nil)
	stream := w.listen(w.request("GET", "/sse", "ann", "", "", ""))
	endpoint := stream.next()
	if endpoint.name != "endpoint" || !strings.HasPrefix(endpoint.data, "/messages?sessionId=") {
		t.Fatalf("first event %+v", endpoint)
	}
	send := func(body string) {
		t.Helper()
		if r := w.do(w.request("POST", endpoint.data, "ann", "", "", body)); r.status != 202 {
			t.Fatalf("message: %d %s", r.status, r.body)
		}
	}
	send(fmt.Sprintf(initializeBody, "2024-11-05"))
	if e := stream.next(); !strings.Contains(e.data, `"protocolVersion":"2024-11-05"`) {
		t.Errorf("initialize: %+v", e)
	}
	send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	id := strings.TrimPrefix(endpoint.data, "/messages?sessionId=")
	send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"who","arguments":{}}}`)
	if e := stream.next(); !strings.Contains(e.data, "ann in "+id) {
		t.Errorf("who: %+v", e)
	}
	send(`{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"test://a"}}`)
	stream.next()
	w.notify("ann", "test://a")
	wantEvent(t, stream.next(), updated("test://a"))
	send(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"touch","arguments":{}}}`)
	wantEvent(t, stream.next(), updated("test://a"))
	stream.next()
	if r := w.do(w.request("POST", endpoint.data, "ann", "", "", "{}", "Content-Type", "text/plain")); r.status != 415 {
		t.Errorf("text: %d", r.status)
	}
	if r := w.do(w.request("POST", "/messages", "ann", "", "", "{}")); r.status != 400 {
		t.Errorf("without an id: %d", r.status)
	}
	stream.close()
	w.quiet(id)
	if r := w.do(w.request("POST", endpoint.data, "ann", "", "", "{}")); r.status != 404 {
		t.Errorf("after the end of the stream: %d", r.status)
	}
	if all := w.rt.Objects(calmcp.UserClass); len(all) > 0 {
		t.Errorf("left in the index: %+v", all)
	}
}
