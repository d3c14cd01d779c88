package calmcp_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/calendar/sessions"
)

// session asks the object of that name over HTTP, as the original worker does.
func (b *bed) session(method, name, path, body string) (int, map[string]any) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, "http://do"+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.rt.Namespace(sessions.ClassName).Named(name).RoundTrip(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil {
		b.t.Fatalf("%s %s: %s", method, path, text)
	}
	return resp.StatusCode, answer
}

func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.mkcalendar("alice", "personal")
		b.mkcalendar("alice", "work")

		// An older-era session has one session for all calls, under its own id.
		cl := b.connect(calmcp.Caller{User: "alice", Session: "MCPSESSION"})
		if got := cl.ok("listEvents", "").SessionID; got != "MCPSESSION" {
			t.Errorf("session = %q, want the MCP session's", got)
		}
		time.Sleep(time.Minute)
		_, _, meta := cl.callMeta("listCalendars", "")
		if diff := cmp.Diff(map[string]any{"sessionId": "MCPSESSION", "calendarCount": 2.0}, without(meta)); diff != "" {
			t.Errorf("_meta (-want +got):\n%s", diff)
		}
		fetched := time.Now().UnixMilli()
		time.Sleep(time.Minute)
		_, _, meta = cl.callMeta("listEvents", "")
		if diff := cmp.Diff(map[string]any{"sessionId": "MCPSESSION", "calendarCount": 2.0}, without(meta)); diff != "" {
			t.Errorf("_meta of the next call (-want +got):\n%s", diff)
		}
		_, answer := b.session("GET", "MCPSESSION", "/get?id=MCPSESSION", "")
		got := answer["session"].(map[string]any)
		want := map[string]any{"createdBy": "calendar-tool", "lastCalendarFetch": float64(fetched), "calendarCount": 2.0}
		if diff := cmp.Diff(want, got["data"]); diff != "" || got["userId"] != "alice" {
			t.Errorf("session of %v (-want +got):\n%s", got["userId"], diff)
		}

		// After its end it begins anew.
		time.Sleep(2 * time.Hour)
		if _, _, meta = cl.callMeta("listEvents", ""); meta["sessionId"] != "MCPSESSION" || meta["calendarCount"] != nil {
			t.Errorf("_meta after the session's end = %v", meta)
		}

		// Elsewhere one is made, and can be sent back, over a restart too.
		cl = b.connect(calmcp.Caller{User: "alice"})
		first := cl.ok("listCalendars", "").SessionID
		if other := cl.ok("listCalendars", "").SessionID; other == first || len(first) != 32 {
			t.Errorf("sessions %q, %q", first, other)
		}
		b.rt.Crash()
		b.open()
		cl = b.connect(calmcp.Caller{User: "alice"})
		_, _, meta = cl.callMeta("listEvents", fmt.Sprintf(`{"sessionId":%q}`, first))
		if diff := cmp.Diff(map[string]any{"sessionId": first, "calendarCount": 2.0}, without(meta)); diff != "" {
			t.Errorf("_meta after a crash (-want +got):\n%s", diff)
		}
		for range 3 { // it lives on with each call
			time.Sleep(50 * time.Minute)
			cl.ok("listEvents", fmt.Sprintf(`{"sessionId":%q}`, first))
		}
	})
}

// without leaves what the surface put into _meta.
func without(meta map[string]any) map[string]any {
	out := map[string]any{}
	for name, v := range meta {
		if !strings.Contains(name, "/") {
			out[name] = v
		}
	}
	return out
}

// Unknown, expired, foreign, ownerless and impossible sessions are one error, and nothing
// is read, made or changed.
func TestNoSuchSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.mkcalendar("alice", "personal")
		expired := b.connect(calmcp.Caller{User: "alice"}).ok("listCalendars", "").SessionID
		time.Sleep(2 * time.Hour)
		bobs := b.connect(calmcp.Caller{User: "bob"}).ok("listCalendars", "").SessionID
		b.session("POST", "nobodys", "/create", `{"sessionId":"nobodys"}`)
		b.session("POST", "elsewhere", "/create", `{"sessionId":"alices","userId":"alice"}`)
		_, before := b.session("GET", bobs, "/get?id="+bobs, "")
		cl := b.connect(calmcp.Caller{User: "alice", Session: "OWN"})
		objects := b.objects()
		want := ""
		for _, id := range []string{"unknown", expired, bobs, "nobodys", "alices", "elsewhere", "no/id", "ein Wort", strings.Repeat("x", 129), "\u202e"} {
			args, err := json.Marshal(map[string]string{"title": "x", "start": "2000-01-01", "sessionId": id})
			if err != nil {
				t.Fatal(err)
			}
			got := cl.fails("createEvent", string(args))
			if want == "" {
				want = got
			}
			if got != want || !strings.Contains(got, "Leave sessionId out") {
				t.Errorf("session %q: %s", id, got)
			}
		}
		if got := cl.ok("listEvents", `{"start":"2000-01-01","end":"2000-01-02"}`).titles(); len(got) != 0 {
			t.Errorf("a call with a wrong session made %q", got)
		}
		if _, after := b.session("GET", bobs, "/get?id="+bobs, ""); cmp.Diff(before["session"].(map[string]any)["data"], after["session"].(map[string]any)["data"]) != "" {
			t.Errorf("bob's session changed: %v", after)
		}
		if got := b.objects() - objects; got != 1 { // the one of the call that succeeded
			t.Errorf("%d objects more", got)
		}
	})
}

func (b *bed) objects() int {
	n := 0
	for _, err := range b.rt.Namespace(sessions.ClassName).Names(b.t.Context(), "", nil) {
		if err != nil {
			b.t.Fatal(err)
		}
		n++
	}
	return n
}

// An MCP session whose id is taken by another user's session, or is no id, gets another.
func TestSessionTaken(t *testing.T) {
	b := newBed(t)
	b.mkcalendar("alice", "personal")
	b.session("POST", "TAKEN", "/create", `{"sessionId":"TAKEN","userId":"bob","data":{"calendarCount":987654321,"secret":"bob's"}}`)
	for _, id := range []string{"TAKEN", "no id", "\u202e"} {
		cl := b.connect(calmcp.Caller{User: "alice", Session: id})
		_, failed, meta := cl.callMeta("listEvents", "")
		if got, _ := meta["sessionId"].(string); failed || got == id || len(got) != 32 || meta["calendarCount"] != nil {
			t.Errorf("MCP session %q: %v, %v", id, failed, meta)
		}
		if strings.Contains(cl.wire.String(), "987654321") {
			t.Errorf("bob's session leaks:\n%s", cl.wire.String())
		}
	}
	if _, answer := b.session("GET", "TAKEN", "/get?id=TAKEN", ""); answer["session"].(map[string]any)["data"].(map[string]any)["calendarCount"] != 987654321.0 {
		t.Errorf("bob's session changed: %v", answer)
	}
}

// What somebody else has put into a session is no reason to fail.
func TestSessionWithOtherData(t *testing.T) {
	b := newBed(t)
	b.mkcalendar("alice", "personal")
	b.session("POST", "odd", "/create", `{"sessionId":"odd","userId":"alice","data":{"calendarCount":"many","lastCalendarFetch":[]}}`)
	_, failed, meta := b.connect(calmcp.Caller{User: "alice"}).callMeta("listEvents", `{"sessionId":"odd"}`)
	if failed || meta["sessionId"] != "odd" || meta["calendarCount"] != nil {
		t.Errorf("failed %v, _meta %v", failed, meta)
	}
}

// Without a place for sessions tools work, and none is named or found. How many calendars
// there are is told all the same.
func TestWithoutSessions(t *testing.T) {
	b := newBed(t)
	b.mkcalendar("alice", "personal")
	b.surface = calmcp.NewSurface(&calmcp.SurfaceOptions{Calendars: b.svc})
	cl := b.connect(calmcp.Caller{User: "alice", Session: "S"})
	_, failed, meta := cl.callMeta("listCalendars", "")
	if diff := cmp.Diff(map[string]any{"calendarCount": 1.0}, without(meta)); failed || diff != "" {
		t.Errorf("failed %v, _meta (-want +got):\n%s", failed, diff)
	}
	if text := cl.fails("listCalendars", `{"sessionId":"S1"}`); !strings.Contains(text, "Leave sessionId out") {
		t.Error(text)
	}
}

// A session that can't be recorded costs a call its sessionId: what it did is done.
func TestSessionLost(t *testing.T) {
	b := newBed(t)
	b.mkcalendar("alice", "personal")
	other := newBed(t)
	b.surface = calmcp.NewSurface(&calmcp.SurfaceOptions{Calendars: b.svc, Sessions: other.rt.Namespace(sessions.ClassName)})
	if err := other.rt.Runtime.Close(); err != nil {
		t.Fatal(err)
	}
	cl := b.connect(calmcp.Caller{User: "alice", Session: "S"})
	if got := cl.ok("createEvent", `{"title":"x","start":"2026-01-01"}`); got.SessionID != "" || got.Event.Title != "x" {
		t.Errorf("createEvent = %s", got.text)
	}
	// One that is named has to be looked at first: nothing is done.
	if text := cl.fails("createEvent", `{"title":"y","start":"2026-01-01","sessionId":"named"}`); !strings.Contains(text, "shutting down") {
		t.Error(text)
	}
	if got := cl.ok("listEvents", `{"start":"2026-01-01"}`).titles(); len(got) != 1 {
		t.Errorf("events %q", got)
	}
}
