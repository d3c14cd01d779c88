package calmcp

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar"
)

const maxValues = 100 // of a completion, says the protocol

// complete offers ids that begin with what was typed, and those of what is called so:
// people type names. Values are ids alone.
func (s *Surface) complete(ctx context.Context, c Caller, p *mcp.CompleteParams) (*mcp.CompleteResult, error) {
	var values []string
	var err error
	switch typed := strings.ToLower(clip(p.Argument.Value, 100)); {
	case p.Ref.Type == "ref/resource" && !isTemplate(p.Ref.URI), p.Ref.Type == "ref/prompt" && !isPrompt(p.Ref.Name):
		return nil, s.protocolError(ctx, c, "complete", invalid("ref", "there is no such prompt or template; send one that is listed, for example %q.", calendarTemplate))
	case p.Argument.Name == "calendarId":
		values, err = s.calendarIDs(ctx, c, typed)
	case p.Argument.Name == "eventId" && p.Context != nil:
		values, err = s.eventIDs(ctx, c, p.Context.Arguments["calendarId"], typed)
	case p.Argument.Name == "date" || p.Argument.Name == "start" || p.Argument.Name == "end":
		values, err = s.dates(ctx, c, typed)
	}
	if err != nil {
		return nil, s.protocolError(ctx, c, "complete", err)
	}
	total := len(values)
	if values == nil {
		values = []string{}
	}
	return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{
		Values: values[:min(total, maxValues)], Total: total, HasMore: total > maxValues,
	}}, nil
}

func isTemplate(uri string) bool {
	return slices.ContainsFunc(templates, func(t *mcp.ResourceTemplate) bool { return t.URITemplate == uri })
}

func isPrompt(name string) bool {
	return slices.ContainsFunc(prompts, func(p *prompt) bool { return p.listed.Name == name })
}

func (s *Surface) calendarIDs(ctx context.Context, c Caller, typed string) ([]string, error) {
	got, err := s.opts.Calendars.User(c.User).ListCalendars(ctx)
	if err != nil {
		return nil, err
	}
	m := matches{typed: typed}
	for _, cal := range got.Calendars {
		m.add(cal.ID, cal.DisplayName)
	}
	return m.ids(), nil
}

func (s *Surface) eventIDs(ctx context.Context, c Caller, calendarID, typed string) ([]string, error) {
	if calendarID == "" {
		return nil, nil
	}
	today, err := s.day(ctx, c, "")
	if err != nil {
		return nil, err
	}
	got, err := s.opts.Calendars.User(c.User).ListEvents(ctx, calendar.Query{
		Calendars: []string{calendarID}, Series: true, Limit: 500,
		Start: today.AddDate(0, -1, 0).Format(time.DateOnly), End: today.AddDate(0, 6, 0).Format(time.DateOnly),
	})
	if err != nil {
		return nil, err
	}
	m := matches{typed: typed}
	for _, e := range got.Events {
		m.add(e.ID, e.Title)
	}
	return m.ids(), nil
}

// dates are the days of the coming two weeks.
func (s *Surface) dates(ctx context.Context, c Caller, typed string) ([]string, error) {
	today, err := s.day(ctx, c, "")
	if err != nil {
		return nil, err
	}
	m := matches{typed: typed}
	for i := range 14 {
		day := today.AddDate(0, 0, i)
		m.add(day.Format(time.DateOnly), day.Weekday().String())
	}
	return m.ids(), nil
}

// matches collects ids: those that begin with what was typed come first, then those of
// what is called so.
type matches struct {
	typed        string
	first, named []string
}

func (m *matches) add(id, name string) {
	switch {
	case strings.HasPrefix(strings.ToLower(id), m.typed):
		m.first = append(m.first, id)
	case strings.Contains(strings.ToLower(name), m.typed):
		m.named = append(m.named, id)
	}
}

func (m *matches) ids() []string {
	out := make([]string, 0, len(m.first)+len(m.named))
	for _, id := range slices.Concat(m.first, m.named) {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}
