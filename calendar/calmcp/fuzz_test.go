package calmcp_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar/calmcp"
)

// Whatever arguments are sent: the answer is a result, an error among them is a sentence
// of a bounded length that begins as all do, and the process goes on.
func FuzzArguments(f *testing.F) {
	for _, args := range []string{
		`{}`, `null`, `[]`, `{"title":"x","start":"2026-03-10"}`, `{"title":null,"start":[]}`, `{"limit":1e999}`, `{"limit":-0}`,
		`{"calendarId":"personal","eventId":"a","recurrenceId":"2026-03-10T09:00:00Z","title":"\ud800"}`,
		`{"calendarId":"personal","eventId":"a","participants":[{"email":"a@b"},{"email":{}}]}`,
		`{"title":"x","start":"2026-03-10","recurrenceRule":{"frequency":"daily","count":100000,"exDates":["x"]}}`,
		`{"title":"x","start":"0000-00-00","timeZone":"../../etc/passwd"}`, `{"cursor":"AAAA","limit":500}`, `{"sessionId":"\u0000"}`,
		`{"title":"x","title":"y","Start":"2026-03-10","start":"2026-03-10"}`, `{"tags":[[[[]]]],"expandRecurring":""}`,
		`{"start":"9999-12-31","end":"9999-12-31"}`, `{"calendarId":"h.","eventId":"h.!"}`,
	} {
		for _, tool := range []uint8{1, 4, 6, 7} {
			f.Add(tool, args)
		}
	}
	tools := []string{"listCalendars", "createCalendar", "updateCalendar", "deleteCalendar", "listEvents", "getEventById", "createEvent", "updateEvent", "deleteEvent", "getEvent"}
	f.Fuzz(func(t *testing.T, tool uint8, args string) {
		if !json.Valid([]byte(args)) || len(args) > 10_000 {
			return
		}
		name := tools[int(tool)%len(tools)]
		b := newBed(t) // with what earlier calls made the later ones would take longer and longer
		b.mkcalendar("alice", "personal")
		b.put("alice", "personal", "a.ics", ics("UID:a", "DTSTART:20260310T090000Z", "RRULE:FREQ=DAILY;COUNT=3", "SUMMARY:A"))
		cl := b.connect(calmcp.Caller{User: "alice"})
		res, err := cl.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: json.RawMessage(args)})
		if err != nil {
			t.Fatalf("%s %q: %v", name, args, err)
		}
		text := res.Content[0].(*mcp.TextContent).Text
		switch {
		case !res.IsError && !json.Valid([]byte(text)):
			t.Fatalf("%s %q: no JSON: %s", name, args, text)
		case res.IsError && (!strings.HasPrefix(text, "Failed to ") || len(text) > 2000 || !utf8.ValidString(text) || strings.Contains(text, "log has the cause")):
			t.Fatalf("%s %q: %s", name, args, text)
		}
	})
}
