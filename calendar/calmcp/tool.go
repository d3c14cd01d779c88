package calmcp

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar"
)

// tool is one tool, for all callers.
type tool struct {
	listed  *mcp.Tool
	op      string // what it does, as errors say it: "Failed to " + op
	input   *jsonschema.Schema
	aliases map[string]string // further names of parameters
	run     func(ctx context.Context, c *call) (output, error)
}

// standIn is what a server registers; in the list of tools the tool itself takes its
// place. The SDK looks for header annotations in a tool's schema at each registration: it
// writes the schema as JSON and reads that back, which costs 33 KiB a tool, ten times all
// the rest of a server. This schema can't be written, so there is nothing to read.
func (t *tool) standIn() *mcp.Tool { return &mcp.Tool{Name: t.listed.Name, InputSchema: unwritable} }

var unwritable = &jsonschema.Schema{Type: "object", Types: []string{"object"}}

// call is one call of a tool.
type call struct {
	*calendar.User
	id       string // the user's
	in       input
	warnings []string
	record   facts // for the session
}

// input is what tools are asked, all of them together.
type input struct {
	calendar.EventChange
	CalendarID   string `json:"calendarId"`
	EventID      string `json:"eventId"`
	RecurrenceID string `json:"recurrenceId"`
	ETag         string `json:"etag"`
	Notify       *bool  `json:"notify"`
	SessionID    string `json:"sessionId"`

	ID          string               `json:"id"`
	DisplayName calendar.Opt[string] `json:"displayName"`
	Category    calendar.Opt[string] `json:"category"`

	Limit           *int     `json:"limit"`
	ExpandRecurring *bool    `json:"expandRecurring"`
	PriorityMinimum int      `json:"priorityMinimum"`
	Tags            []string `json:"tags"`
	Cursor          string   `json:"cursor"`
}

// handler returns the tool as a server for one caller has it.
func (s *Surface) handler(c Caller, t *tool) mcp.ToolHandler {
	return func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		res, err := s.call(ctx, c, t, req.Params.Arguments, func(message string) func() {
			return progress(ctx, req.Session, req.Params.GetProgressToken(), message)
		})
		if err != nil {
			return s.toolError(ctx, c, t.op, err), nil
		}
		return res, nil
	}
}

func (s *Surface) call(ctx context.Context, caller Caller, t *tool, raw json.RawMessage, progress func(message string) (stop func())) (*mcp.CallToolResult, error) {
	c := &call{User: s.opts.Calendars.User(caller.User), id: caller.User}
	var err error
	if c.warnings, err = arguments(raw, t.input, t.aliases, &c.in); err != nil {
		return nil, err
	}
	v, err := s.enter(ctx, caller, c.in.SessionID)
	if err != nil {
		return nil, err
	}
	out, err := func() (output, error) {
		defer progress("waiting for the calendar server")()
		return t.run(ctx, c)
	}()
	if err != nil {
		return nil, withWarnings(err, c.warnings)
	}
	id, known := s.leave(ctx, v, c.record)
	e := out.end()
	e.SessionID, e.Warnings = id, append(e.Warnings, c.warnings...)
	res, err := result(out)
	if err != nil {
		return nil, err
	}
	res.Meta = meta(id, cmp.Or(c.record.CalendarCount, known.CalendarCount))
	return res, nil
}

// meta is what a result says beside itself: the session, if there is one, and how many
// calendars there are, as far as the call or the session knows. Nil for nothing.
func meta(session string, calendars *int64) mcp.Meta {
	m := mcp.Meta{}
	if session != "" {
		m["sessionId"] = session
	}
	if calendars != nil {
		m["calendarCount"] = *calendars
	}
	if len(m) == 0 {
		return nil
	}
	return m
}
