package calmcp

import (
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// tools returns all tools. Names, parameters and answers are those of
// mcp-nextcloud-calendar, with what is new beside them.
func tools() []*tool {
	return append(calendarTools(), eventTools()...)
}

// aliases of tool names: accepted, and not listed.
var toolAliases = map[string]string{"getEvent": "getEventById"}

// hints are what clients may do with a tool without asking.
type hints struct {
	reads, destroys, repeats, writes bool // writes: to people
}

func (h hints) annotations(title string) *mcp.ToolAnnotations {
	a := &mcp.ToolAnnotations{Title: title, ReadOnlyHint: h.reads, IdempotentHint: h.reads || h.repeats, OpenWorldHint: &h.writes}
	if !h.reads {
		a.DestructiveHint = &h.destroys
	}
	return a
}

func newTool(name, title, op, description string, h hints, in, out *jsonschema.Schema) *tool {
	return &tool{op: op, input: in, listed: &mcp.Tool{
		Name: name, Title: title, Description: description, Annotations: h.annotations(title), InputSchema: in, OutputSchema: out,
	}}
}

var sessionParam = param{"sessionId", text("Leave it out at first. Results name a session, which later calls may send to go on with it.", "4f1c9a0e5b7d4c2a8e6f0b1d3c5a7e9f")}
