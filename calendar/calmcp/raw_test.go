package calmcp_test

import (
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar/calmcp"
)

// Requests that no client's library would send are answered, and the next one too.
func TestRawRequests(t *testing.T) {
	b := newBed(t)
	b.mkcalendar("alice", "personal")
	in, out := mcp.NewInMemoryTransports()
	server, err := b.surface.Server(calmcp.Caller{User: "alice"}, nil).Connect(t.Context(), out, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := in.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { conn.Close(); server.Wait() }()
	ask := func(text string) string {
		t.Helper()
		msg, err := jsonrpc.DecodeMessage([]byte(text))
		if err == nil {
			err = conn.Write(t.Context(), msg)
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		answer, err := conn.Read(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		data, err := jsonrpc.EncodeMessage(answer)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return string(data)
	}
	ask(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}`)
	for _, rest := range []string{
		`"tools/call"`, `"tools/call","params":null`, `"tools/call","params":{}`, `"tools/call","params":{"name":"listEvents","arguments":null}`,
		`"tools/call","params":{"name":"listEvents","arguments":[1]}`, `"tools/call","params":{"name":"listEvents","arguments":"x"}`,
		`"tools/call","params":{"name":"LISTEVENTS"}`, `"tools/call","params":{"name":"createEvent","arguments":{"title":{"\u0000":[]}}}`,
		`"resources/read"`, `"resources/read","params":{}`, `"resources/read","params":{"uri":"\u0000\u0007\u202e\ud800"}`, `"resources/read","params":{"uri":"calendar://calendars/%00"}`,
		`"resources/read","params":null`, `"resources/subscribe"`, `"resources/subscribe","params":null`, `"resources/subscribe","params":{}`,
		`"resources/list","params":{"cursor":"x"}`, `"resources/list","params":null`, `"tools/list"`, `"prompts/get"`, `"prompts/get","params":{"name":"plan-my-day","arguments":{"date":"\u202e"}}`,
		`"completion/complete"`, `"completion/complete","params":{"ref":null}`, `"completion/complete","params":{"ref":{"type":"ref/prompt","name":"plan-my-day"}}`,
		`"completion/complete","params":{"ref":{"type":"ref/resource","uri":"calendar://calendars/{calendarId}"},"argument":{"name":"calendarId","value":"x"},"context":null}`,
		`"logging/setLevel","params":{"level":"debug"}`, `"nothing"`,
	} {
		answer := ask(`{"jsonrpc":"2.0","id":2,"method":` + rest + `}`)
		if !strings.Contains(answer, `"id":2`) || strings.Contains(answer, "panic") {
			t.Errorf("%s: %s", rest, answer)
		}
		if strings.Contains(rest, `"arguments":[`) && !strings.Contains(answer, `"isError":true`) {
			t.Errorf("%s: %s", rest, answer)
		}
	}
	if strings.Contains(b.log.String(), "panic") {
		t.Errorf("log:\n%s", b.log.String())
	}
	if answer := ask(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"listCalendars"}}`); !strings.Contains(answer, `\"success\": true`) {
		t.Error(answer)
	}
}
