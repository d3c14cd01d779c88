package calmcp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/internal/golden"
)

// What clients are told of the tools is part of the contract: a change of it shows here.
func TestToolsAsListed(t *testing.T) {
	b := newBed(t)
	res, err := b.connect(calmcp.Caller{User: "alice"}).ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.CacheScope != "public" || res.TTLMs <= 0 {
		t.Errorf("tools/list has scope %q, ttl %d", res.CacheScope, res.TTLMs)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(res.Tools); err != nil {
		t.Fatal(err)
	}
	golden.File(t, "testdata/tools.json", buf.String())
}

// upstream are the original server's parameters; with * those that it demands and that
// are still needed.
var upstream = map[string]string{
	"listCalendars":  "",
	"createCalendar": "displayName* color category focusPriority",
	"updateCalendar": "id* displayName color category focusPriority",
	"deleteCalendar": "id*",
	"listEvents":     "calendarId start end limit expandRecurring priorityMinimum adhdCategory tags",
	"getEventById":   "calendarId* eventId*",
	"createEvent":    "calendarId title* start* end isAllDay description location color status visibility availability adhdCategory focusPriority energyLevel categories participants recurrenceRule reminders",
	"updateEvent":    "calendarId* eventId* title start end isAllDay description location color status visibility availability adhdCategory focusPriority energyLevel categories participants recurrenceRule reminders",
	"deleteEvent":    "calendarId* eventId*",
}

func TestUpstreamsParameters(t *testing.T) {
	b := newBed(t)
	res, err := b.connect(calmcp.Caller{User: "alice"}).ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Tools) != len(upstream) {
		t.Errorf("%d tools, want %d", len(res.Tools), len(upstream))
	}
	for _, tool := range res.Tools {
		in := tool.InputSchema.(map[string]any)
		properties, _ := in["properties"].(map[string]any)
		required := []string{}
		for _, name := range strings.Fields(upstream[tool.Name]) {
			if bare, needed := strings.CutSuffix(name, "*"); needed {
				required = append(required, bare)
				name = bare
			}
			if properties[name] == nil {
				t.Errorf("%s has no parameter %s", tool.Name, name)
			}
		}
		got := []string{}
		if list, ok := in["required"].([]any); ok {
			for _, name := range list {
				got = append(got, name.(string))
			}
		}
		if diff := cmp.Diff(required, got); diff != "" {
			t.Errorf("%s requires (-want +got):\n%s", tool.Name, diff)
		}
		if properties["sessionId"] == nil || properties["summary"] != nil || in["additionalProperties"] != nil {
			t.Errorf("%s: input schema %v", tool.Name, in)
		}
		if tool.Title == "" || tool.Annotations.Title == "" || tool.Annotations.OpenWorldHint == nil || tool.OutputSchema == nil {
			t.Errorf("%s: title, annotations or output schema is missing", tool.Name)
		}
		reads := strings.HasPrefix(tool.Name, "list") || strings.HasPrefix(tool.Name, "get")
		if tool.Annotations.ReadOnlyHint != reads {
			t.Errorf("%s: readOnlyHint %v", tool.Name, tool.Annotations.ReadOnlyHint)
		}
		writes := strings.HasSuffix(tool.Name, "Event")
		if *tool.Annotations.OpenWorldHint != writes {
			t.Errorf("%s: openWorldHint %v", tool.Name, *tool.Annotations.OpenWorldHint)
		}
		if properties["recurrenceId"] != nil && !reads && !strings.HasPrefix(tool.Description, "Without recurrenceId ") {
			t.Errorf("%s does not say first that it acts on the series: %s", tool.Name, tool.Description)
		}
	}
}

// Each tool's schemas are right: they accept the examples that errors show, and what the
// tools answer.
func TestSchemas(t *testing.T) {
	b := newBed(t)
	b.mkcalendar("alice", "personal")
	b.set(func() { b.schedules = true })
	cl := b.connect(calmcp.Caller{User: "alice"})
	res, err := cl.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	outputs := map[string]*jsonschema.Resolved{}
	for _, tool := range res.Tools {
		var in, out jsonschema.Schema
		for from, to := range map[any]*jsonschema.Schema{&tool.InputSchema: &in, &tool.OutputSchema: &out} {
			data, err := json.Marshal(from)
			if err == nil {
				err = json.Unmarshal(data, to)
			}
			if err != nil {
				t.Fatalf("%s: %v", tool.Name, err)
			}
		}
		resolved, err := in.Resolve(nil)
		if err != nil {
			t.Fatalf("%s: input schema: %v", tool.Name, err)
		}
		example := map[string]any{}
		for name, p := range in.Properties {
			if len(p.Examples) == 0 || p.Description == "" {
				t.Errorf("%s: %s has no example or description", tool.Name, name)
				continue
			}
			example[name] = p.Examples[0]
		}
		if err := resolved.Validate(example); err != nil {
			t.Errorf("%s: the examples do not pass the schema: %v", tool.Name, err)
		}
		if outputs[tool.Name], err = out.Resolve(nil); err != nil {
			t.Fatalf("%s: output schema: %v", tool.Name, err)
		}
	}
	event := "e000"
	b.fill(1, "RRULE:FREQ=DAILY;COUNT=3", "ORGANIZER:mailto:alice@example.org", "ATTENDEE:mailto:bob@example.org", "DESCRIPTION:"+strings.Repeat("x", 2000))
	for _, call := range []struct{ tool, args string }{
		{"listCalendars", ""},
		{"createCalendar", `{"displayName":"x","focusPriority":3}`},
		{"updateCalendar", `{"id":"personal","category":"x","odd":1}`},
		{"listEvents", `{"start":"2026-03-01","limit":1}`},
		{"listEvents", `{"start":"2027-03-01"}`},
		{"getEventById", `{"calendarId":"personal","eventId":"` + event + `"}`},
		{"createEvent", `{"title":"x","start":"2026-01-01","participants":[{"email":"bob@example.org"}],"reminders":[{"minutesBefore":1}]}`},
		{"updateEvent", `{"calendarId":"personal","eventId":"` + event + `","location":"x","recurrenceId":"2026-03-02T00:00:00Z"}`},
		{"deleteEvent", `{"calendarId":"personal","eventId":"` + event + `"}`},
	} {
		text, failed := cl.call(call.tool, call.args)
		var v any
		if err := json.Unmarshal([]byte(text), &v); failed || err != nil {
			t.Errorf("%s %s: %s", call.tool, call.args, text)
			continue
		}
		if err := outputs[call.tool].Validate(v); err != nil {
			t.Errorf("%s %s: the answer does not pass the output schema: %v\n%s", call.tool, call.args, err, text)
		}
	}
}

// Each kind of error has its sentence; what is none of the client's business stays here.
func TestErrors(t *testing.T) {
	b := newBed(t)
	b.mkcalendar("alice", "personal")
	cl := b.connect(calmcp.Caller{User: "broken"})
	const want = "Failed to retrieve calendars: An unexpected error occurred. Please try again later. Nothing that you sent was wrong; the server's log has the cause."
	if got := cl.fails("listCalendars", ""); got != want {
		t.Errorf("error = %q, want %q", got, want)
	}
	if _, err := cl.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "calendar://calendars"}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("read: %v", err)
	}
	if _, err := cl.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: "plan-my-day"}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("prompt: %v", err)
	}
	if strings.Contains(cl.wire.String(), "secret") || !strings.Contains(b.log.String(), "secret of the server's own") || !strings.Contains(b.log.String(), "user=broken") {
		t.Errorf("the cause belongs into the log alone:\n%s\n%s", cl.wire.String(), b.log.String())
	}
	if res, err := cl.ListResources(t.Context(), nil); err != nil || len(res.Resources) != 2 {
		t.Errorf("resources without calendars: %v", err)
	}
}

func TestErrorSentences(t *testing.T) {
	const (
		forbidden  = "You do not have permission to perform this action."
		notFound   = "The requested calendar was not found."
		locked     = "The calendar is currently locked. Please try again later."
		invalid    = "Invalid request data. Please check your input and try again."
		unexpected = "An unexpected error occurred. Please try again later."
	)
	for _, tt := range []struct {
		err  error
		want string
	}{
		{calendar.ErrForbidden, forbidden}, {calendar.ErrUnauthorized, forbidden}, {calendar.ErrNotFound, notFound}, {calendar.ErrLocked, locked},
		{calendar.ErrInvalid, invalid}, {calendar.ErrConflict, invalid}, {calendar.ErrBusy, unexpected}, {calendar.ErrUnavailable, unexpected}, {calendar.ErrUncertain, unexpected},
	} {
		p := &calendar.Problem{Kind: tt.err, Field: "x", Text: "what \u202e to do.", Retry: 1500 * time.Millisecond, Err: errors.New("inner")}
		got := calmcp.Explain(fmt.Errorf("outer: %w", p))
		if want := tt.want + " x: what \u202e to do. Wait 2 s before that."; got != want {
			t.Errorf("%v: %q, want %q", tt.err, got, want)
		}
	}
	for _, err := range []error{context.Canceled, context.DeadlineExceeded, calendar.ErrClosed, errors.New("inner")} {
		if got := calmcp.Explain(err); !strings.HasPrefix(got, unexpected+" ") || strings.Contains(got, "inner") {
			t.Errorf("%v: %q", err, got)
		}
	}
}

// A panic ends its request and nothing else.
func TestPanic(t *testing.T) {
	b := newBed(t)
	b.mkcalendar("alice", "personal")
	b.set(func() { b.hold = func() { panic("secret") } })
	cl := b.connect(calmcp.Caller{User: "alice"})
	if got := cl.fails("listCalendars", ""); !strings.HasPrefix(got, "Failed to retrieve calendars: An unexpected error occurred.") || strings.Contains(got, "secret") {
		t.Error(got)
	}
	if _, err := cl.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "calendar://calendars"}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("read: %v", err)
	}
	b.set(func() { b.hold = nil })
	cl.ok("listCalendars", "")
}

// Who asks for progress hears of a call that takes long, and of no other.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.mkcalendar("alice", "personal")
		cl := b.connect(calmcp.Caller{User: "alice"})
		call := func(token any) {
			t.Helper()
			p := &mcp.CallToolParams{Name: "listEvents"}
			if token != nil {
				p.SetProgressToken(token)
			}
			if res, err := cl.CallTool(t.Context(), p); err != nil || res.IsError {
				t.Fatalf("%v, %+v", err, res)
			}
			synctest.Wait()
		}
		call("quick")
		slow := true
		b.set(func() {
			b.hold = func() {
				if slow {
					slow = false
					time.Sleep(12 * time.Second)
				}
			}
		})
		call("slow")
		slow = true
		call(nil)
		close(cl.progress)
		last := 0.0
		n := 0
		for p := range cl.progress {
			if p.ProgressToken != "slow" || p.Progress <= last || p.Message == "" {
				t.Errorf("progress %+v after %v", p, last)
			}
			last = p.Progress
			n++
		}
		if n != 3 { // after 1, 6 and 11 s
			t.Errorf("%d notifications, want 3", n)
		}
	})
}

func TestChanges(t *testing.T) {
	b := newBed(t)
	s := b.surface
	for _, tt := range []struct {
		change  calendar.Change
		uris    []string
		list    bool
		touches string // of the resources below, by number
	}{
		{calendar.Change{Calendars: true}, []string{"calendar://calendars", "calendar://events"}, true, "0123"},
		{calendar.Change{Calendar: "a", Events: []string{"x"}}, []string{"calendar://events", "calendar://calendars/a/events", "calendar://calendars/a/events/x"}, false, "14567"},
		{calendar.Change{Calendar: "a", Events: []string{"y"}}, []string{"calendar://events", "calendar://calendars/a/events", "calendar://calendars/a/events/y"}, false, "145"},
		{calendar.Change{Calendar: "a"}, []string{"calendar://events", "calendar://calendars/a/events"}, false, "14567"},
		{calendar.Change{Calendar: "b", Events: []string{"x"}}, []string{"calendar://events", "calendar://calendars/b/events", "calendar://calendars/b/events/x"}, false, "18"},
		{calendar.Change{}, nil, false, ""},
	} {
		uris, list := s.Changed(tt.change)
		if diff := cmp.Diff(tt.uris, uris); diff != "" || list != tt.list {
			t.Errorf("%+v: list %v (-want +got):\n%s", tt.change, list, diff)
		}
		got := ""
		for i, uri := range []string{
			"calendar://calendars", "calendar://events", "calendar://calendars/a", "calendar://calendars/b",
			"calendar://calendars/a/events", "calendar://calendars/a/events?start=2026-01-01",
			"calendar://calendars/a/events/x", "calendar://calendars/a/events/x?recurrenceId=2026-01-01", "calendar://calendars/b/events",
			"calendar://calendars/a/tasks", "test://watched", "calendar://calendars/", "calendar://calendars/a b", "calendar://calendars/a/events/", "calendar://calendars/a/events/\u202e",
			"calendar://calendars/a?start=1", "calendar://calendars/a/events?start=1&start=2", "calendar://calendarsa", "calendar://events/a", "calendar://calendars/a/events/x?" + strings.Repeat("y", 3000),
		} {
			if s.Touches(tt.change, uri) {
				got += fmt.Sprint(i)
			}
			if want := i < 9; s.IsResource(uri) != want {
				t.Errorf("IsResource(%s) = %v", uri, !want)
			}
		}
		if got != tt.touches {
			t.Errorf("%+v touches %s, want %s", tt.change, got, tt.touches)
		}
		for _, uri := range uris {
			if !s.Touches(tt.change, uri) {
				t.Errorf("%+v does not touch %s", tt.change, uri)
			}
		}
	}
}

// What the service tells of a write through a tool concerns the resources that show it.
func TestChangesOfTools(t *testing.T) {
	b := newBed(t)
	b.mkcalendar("alice", "personal")
	cl := b.connect(calmcp.Caller{User: "alice"})
	cl.ok("listEvents", "")
	b.takeChanges()
	e := cl.ok("createEvent", `{"title":"x","start":"2026-01-01"}`).Event
	touched := func(uri string) bool {
		any := false
		for _, c := range b.takeChanges() {
			any = any || c.User == "alice" && b.surface.Touches(c, uri)
		}
		return any
	}
	if !touched("calendar://calendars/personal/events") {
		t.Error("createEvent touches no events")
	}
	cl.ok("updateEvent", `{"calendarId":"personal","eventId":"`+e.ID+`","title":"y"}`)
	if !touched("calendar://calendars/personal/events/" + e.ID) {
		t.Error("updateEvent does not touch the event")
	}
	cl.ok("updateCalendar", `{"id":"personal","color":"red"}`)
	if !touched("calendar://calendars/personal") {
		t.Error("updateCalendar does not touch the calendar")
	}
}

// Nobody subscribes to the URI of nothing, in any era; what may be made yet can be waited for.
func TestSubscriptionsToNothing(t *testing.T) {
	b := newBed(t)
	b.mkcalendar("alice", "personal")
	w := newWorld(t, func(o *calmcp.HandlerOptions, _ *durable.Options) { o.Server = b.surface.Server })
	c := w.connect("alice", "2025-11-25")
	for _, uri := range []string{"calendar://nope", "calendar://calendars/a/tasks", "calendar://calendars/a?x=1", "file:///etc/passwd", ""} {
		read := c.call("resources/read", fmt.Sprintf(`{"uri":%q}`, uri)).messages()[0]["error"]
		m := c.call("resources/subscribe", fmt.Sprintf(`{"uri":%q}`, uri)).messages()[0]
		if read == nil || canonical(m["error"]) != canonical(read) {
			t.Errorf("subscribe to %q: %v, want what reading it gives: %v", uri, m, read)
		}
		listen := w.modern("alice", "subscriptions/listen", fmt.Sprintf(`"notifications":{"resourceSubscriptions":["calendar://events",%q]}`, uri))
		l, status, body := w.tryListen(listen)
		if l != nil {
			body = l.next().data
		}
		if !strings.Contains(body, "Resource not found") {
			t.Errorf("listen to %q: %d %s", uri, status, body)
		}
	}
	c.subscribe("calendar://calendars/none-yet/events")
	w.h.NotifyTouched(t.Context(), "alice", func(uri string) bool {
		if uri != "calendar://calendars/none-yet/events" {
			t.Errorf("subscribed to %q", uri)
		}
		return false
	}, false)
}

// A transport's own options are kept.
func TestServerOptions(t *testing.T) {
	b := newBed(t)
	in, out := mcp.NewInMemoryTransports()
	server := b.surface.Server(calmcp.Caller{User: "alice"}, &mcp.ServerOptions{
		Instructions:       "mine",
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
		SetCacheable:       func(_ context.Context, _ mcp.Request, c *mcp.Cacheable) { c.TTLMs = 7 },
	})
	mcp.AddTool(server, &mcp.Tool{Name: "another"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return nil, nil, nil
	})
	ss, err := server.Connect(t.Context(), out, nil)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := mcp.NewClient(&mcp.Implementation{Name: "test"}, nil).Connect(t.Context(), in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { cl.Close(); ss.Wait() }()
	init := cl.InitializeResult()
	if init.Instructions != "mine" || !init.Capabilities.Resources.Subscribe || init.Capabilities.Completions == nil || init.Capabilities.Logging != nil {
		t.Errorf("initialize = %+v", init)
	}
	res, err := cl.ListTools(t.Context(), nil)
	if err != nil || len(res.Tools) != 10 || res.TTLMs != 7 {
		t.Errorf("%d tools, %v", len(res.Tools), err)
	}
	for _, tool := range res.Tools {
		if tool.Name == "createEvent" && tool.InputSchema.(map[string]any)["properties"] == nil {
			t.Error("a stand-in is listed")
		}
	}
}

// BenchmarkListEvents is a page of 100 events out of the copy, with all that a client
// and a server do for it.
func BenchmarkListEvents(b *testing.B) {
	bed := newBed(b)
	bed.mkcalendar("alice", "personal")
	bed.fill(100, "DESCRIPTION:"+strings.Repeat("some text ", 10), "LOCATION:Room 1")
	cl := bed.connect(calmcp.Caller{User: "alice", Session: "S"})
	b.ReportAllocs()
	for b.Loop() {
		if n := len(cl.ok("listEvents", "{"+march+"}").Events); n != 100 {
			b.Fatalf("%d events", n)
		}
	}
}

// BenchmarkServer is what a request of the stateless era pays for its server.
func BenchmarkServer(b *testing.B) {
	bed := newBed(b)
	c := calmcp.Caller{User: "alice"}
	b.ReportAllocs()
	for b.Loop() {
		bed.surface.Server(c, nil)
	}
}
