package worker

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
)

// stream opens MCP's stream through h, after making a session there, and returns a channel
// that is closed when the stream ends.
func stream(t *testing.T, h http.Handler, path string, header ...string) <-chan struct{} {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	send := func(method, body, session string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(context.Background(), method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		if session != "" {
			req.Header.Set("Mcp-Session-Id", session)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode/100 != 2 {
			body, _ := io.ReadAll(resp.Body)
			t.Fatalf("%s %s = %d %s", method, path, resp.StatusCode, body)
		}
		return resp
	}
	resp := send("POST", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`, "")
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	session := resp.Header.Get("Mcp-Session-Id")
	send("POST", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, session).Body.Close()
	resp = send("GET", "", session)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
	}()
	return ended
}

func isOpen(ended <-chan struct{}) bool {
	select {
	case <-ended:
		return false
	default:
		return true
	}
}

// TestStreamsEnd has streams of a user, over HTTP and for a program on this machine, end with
// him, and those of another at the end.
func TestStreamsEnd(t *testing.T) {
	b := newBed(t, Options{})
	_, ann := b.add("ann")
	_, bob := b.add("bob")
	annHTTP := stream(t, b.Worker, "/mcp", "Authorization", "Bearer "+ann)
	annLocal := stream(t, b.Control(), "/users/ann/mcp")
	bobHTTP := stream(t, b.Worker, "/mcp", "Authorization", "Bearer "+bob)
	bobLocal := stream(t, b.Control(), "/users/bob/mcp")
	meLocal := stream(t, b.Control(), "/users/me/mcp")
	if code, body := b.control("DELETE", "/users/ann", ""); code != 200 {
		t.Fatalf("DELETE = %d %s", code, body)
	}
	b.visits.mu.Lock()
	if n := len(b.visits.running); n != 1 { // the removal has waited for ann's
		t.Errorf("%d users have visits, want bob alone", n)
	}
	b.visits.mu.Unlock()
	<-annHTTP
	<-annLocal
	if !isOpen(bobHTTP) || !isOpen(bobLocal) || !isOpen(meLocal) {
		t.Error("another's stream has ended")
	}
	if err := b.Drain(t.Context()); err != nil {
		t.Errorf("Drain = %v", err)
	}
	<-bobHTTP
	<-bobLocal
	<-meLocal
	if rw := b.status("GET", "/mcp", "localhost"); rw.Code != 503 {
		t.Errorf("GET /mcp after Drain = %d, want 503", rw.Code)
	}
}

// TestPurgeEndsSessions has a removed user's MCP sessions go with --purge, and stay without.
func TestPurgeEndsSessions(t *testing.T) {
	b := newBed(t, Options{})
	ann, secret := b.add("ann")
	b.add("bob")
	stream(t, b.Worker, "/mcp", "Authorization", "Bearer "+secret)
	stored := func() (n int) {
		for _, o := range b.Objects(calmcp.SessionClass) {
			if o.Size > 0 {
				n++
			}
		}
		return n
	}
	if n := stored(); n != 1 {
		t.Fatalf("%d sessions, want 1", n)
	}
	if code, body := b.control("DELETE", "/users/ann", ""); code != 200 || stored() != 1 {
		t.Errorf("DELETE = %d %s with %d sessions left, want 1", code, body, stored())
	}
	if code, body := b.control("DELETE", "/users/"+ann.ID+"?purge=true", ""); code != 200 || stored() != 0 {
		t.Errorf("purge = %d %s with %d sessions left, want none", code, body, stored())
	}
}

// TestNoCalendarService is a configuration without the class that the service needs.
func TestNoCalendarService(t *testing.T) {
	var link calmcp.Link
	rt := durabletest.New(t, &durable.Options{Classes: BuiltIn(&link)}).Runtime
	w := New(rt, &Options{Link: &link})
	for _, path := range []string{"/api/calendars", "/mcp", "/sse", "/messages"} {
		if rw := w.status("GET", path, "localhost"); rw.Code != 503 || strings.TrimSpace(rw.Body.String()) != `{"error":"Calendar service not available: no migration has made the class CalendarCache"}` {
			t.Errorf("GET %s = %d %s, want 503, the text of the server that this one replaces, and why", path, rw.Code, rw.Body)
		}
	}
	if got := w.MissingClass(); got != "CalendarCache" {
		t.Errorf("MissingClass = %q, want CalendarCache", got)
	}
	if got := newBed(t, Options{}).MissingClass(); got != "" {
		t.Errorf("MissingClass = %q where all are, want none", got)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestAPICalendars(t *testing.T) {
	b := newBed(t, Options{})
	get := func(method string) *httptest.ResponseRecorder { return b.status(method, "/api/calendars", "localhost") }
	if rw := get("GET"); rw.Code != 200 || strings.TrimSpace(rw.Body.String()) != `{"calendars":[]}` {
		t.Errorf("GET without calendars = %d %s", rw.Code, rw.Body)
	}
	if err := b.SeedMe(t.Context()); err != nil {
		t.Fatal(err)
	}
	rw := get("GET")
	if rw.Code != 200 || !strings.Contains(rw.Body.String(), `"displayName":"Personal"`) || rw.Header().Get("Cache-Control") != "no-store" ||
		rw.Header().Get("Content-Type") != "application/json" {
		t.Errorf("GET = %d %v %s", rw.Code, rw.Header(), rw.Body)
	}
	if code := b.dav("MKCALENDAR", "/dav/calendars/me/odd/", `<C:mkcalendar xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:set><D:prop><D:displayname>`+"a\u202eb"+`</D:displayname></D:prop></D:set></C:mkcalendar>`, "me", ""); code != 201 {
		t.Fatalf("MKCALENDAR = %d", code)
	}
	if body := get("GET").Body.String(); !strings.Contains(body, `"a\u202eb"`) {
		t.Errorf("a name with a character that nobody sees: %s", body)
	}
	if rw := get("POST"); rw.Code != 405 || rw.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST = %d %v", rw.Code, rw.Header())
	}
}
