package calmcp

import (
	"context"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar"
)

// prompt is one prompt: instructions of ours, and beside them the events as a resource, so
// that what people have written into calendars never stands among the instructions.
type prompt struct {
	listed *mcp.Prompt
	days   int                           // that it looks at
	first  func(day time.Time) time.Time // the first of them, for a day
	say    func(first, last, zone string) string
}

var calendarArgument = &mcp.PromptArgument{Name: "calendarId", Title: "Calendar",
	Description: "Id of one calendar; all but birthdays, subscriptions and hidden ones if left out."}

var prompts = []*prompt{
	{
		listed: &mcp.Prompt{Name: "plan-my-day", Title: "Plan my day",
			Description: "Plans a day around its events, with energy and focus in mind.",
			Arguments: []*mcp.PromptArgument{
				{Name: "date", Title: "Day", Description: "The day, for example 2026-03-10; today if left out."}, calendarArgument,
			}},
		days:  1,
		first: func(day time.Time) time.Time { return day },
		say: func(first, _, zone string) string {
			return "Plan my day, " + first + " (times are in " + zone + "). The attached resource lists its events.\n\n" +
				"1. Say in a few lines what is fixed, what overlaps, and where travel or preparation needs time.\n" +
				"2. Propose blocks for the free time: demanding work where focusPriority and energyLevel say so, breaks between, something easy after what costs energy.\n" +
				"3. Name what could be moved or declined if the day is too full.\n\n" +
				"Create, change or delete nothing before I agree."
		},
	},
	{
		listed: &mcp.Prompt{Name: "weekly-review", Title: "Weekly review",
			Description: "Looks back on a week and forward to the next one.",
			Arguments: []*mcp.PromptArgument{
				{Name: "date", Title: "A day of the week", Description: "Any day of the week to look back on, for example 2026-03-10; the current week if left out."}, calendarArgument,
			}},
		days:  14,
		first: func(day time.Time) time.Time { return day.AddDate(0, 0, -(int(day.Weekday())+6)%7) },
		say: func(first, last, zone string) string {
			return "Review my week from Monday, " + first + ", and prepare the week after it, until " + last + " (times are in " + zone + "). The attached resource lists the events of both.\n\n" +
				"1. The week that was: where the time went, by category and by people; what was cancelled or moved; what may need following up.\n" +
				"2. The week to come: what is fixed, what overlaps, which days are too full, what needs preparing and when.\n" +
				"3. Three proposals to make it better, with the changes in the calendar that each needs.\n\n" +
				"Create, change or delete nothing before I agree."
		},
	},
}

func (s *Surface) addPrompts(server *mcp.Server, c Caller) {
	for _, p := range prompts {
		server.AddPrompt(p.listed, func(ctx context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			res, err := s.prompt(ctx, c, p, req.Params.Arguments)
			if err != nil {
				return nil, s.protocolError(ctx, c, "prepare prompt", err)
			}
			return res, nil
		})
	}
}

func (s *Surface) prompt(ctx context.Context, c Caller, p *prompt, args map[string]string) (*mcp.GetPromptResult, error) {
	q := calendar.Query{Limit: 500}
	if id := args["calendarId"]; id != "" {
		q.Calendars = []string{id}
	}
	day, err := s.day(ctx, c, args["date"])
	if err != nil {
		return nil, err
	}
	first := p.first(day)
	q.Start, q.End = first.Format(time.DateOnly), first.AddDate(0, 0, p.days-1).Format(time.DateOnly)
	page, err := s.agenda(ctx, c, q)
	if err != nil {
		return nil, err
	}
	data, err := marshal(page)
	if err != nil {
		return nil, err
	}
	text, err := indent(data)
	if err != nil {
		return nil, err
	}
	say := p.say(q.Start, q.End, page.TimeZone)
	if page.Cursor != "" {
		say += "\n\nThere are more events than these: listEvents with start " + q.Start + " and end " + q.End + " reads them all."
	}
	uri := agendaURI
	if len(q.Calendars) > 0 {
		uri = eventsURI(q.Calendars[0])
	}
	uri += "?start=" + q.Start + "&end=" + q.End
	return &mcp.GetPromptResult{Description: p.listed.Description, Messages: []*mcp.PromptMessage{
		{Role: "user", Content: &mcp.TextContent{Text: say}},
		{Role: "user", Content: &mcp.EmbeddedResource{Resource: &mcp.ResourceContents{URI: uri, MIMEType: jsonType, Text: string(text)}}},
	}}, nil
}

// day reads a date; without one it is today where the user is.
func (s *Surface) day(ctx context.Context, c Caller, date string) (time.Time, error) {
	if date = strings.TrimSpace(date); date != "" {
		day, err := time.Parse(time.DateOnly, date)
		if err != nil || day.Year() < 2 || day.Year() > 9900 {
			return day, invalid("date", "%s is no date; send one like 2026-03-10, or leave it out for today.", shown(date))
		}
		return day, nil
	}
	got, err := s.opts.Calendars.User(c.User).ListCalendars(ctx)
	if err != nil {
		return time.Time{}, err
	}
	zone, err := time.LoadLocation(got.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	y, m, d := time.Now().In(zone).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC), nil
}

// agenda is a page of events, from today on if nothing else is asked for.
func (s *Surface) agenda(ctx context.Context, c Caller, q calendar.Query) (*eventsOutput, error) {
	if q.Start == "" && q.End == "" {
		today, err := s.day(ctx, c, "")
		if err != nil {
			return nil, err
		}
		q.Start, q.End = today.Format(time.DateOnly), today.AddDate(0, 6, 0).Format(time.DateOnly)
	}
	return listPage(ctx, s.opts.Calendars.User(c.User), c.User, q, "")
}
