package calmcp

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar"
)

// Resources are named by URIs; the ids in them are opaque and compared, never joined into
// paths:
//
//	calendar://events                                  events of all calendars, from today on
//	calendar://calendars                               the list of calendars
//	calendar://calendars/{calendarId}                  one calendar
//	calendar://calendars/{calendarId}/events           events of a calendar, from today on
//	calendar://calendars/{calendarId}/events/{eventId} one event, or a series as it is written
//
// The events take start and end as listEvents does, the event a recurrenceId.
const (
	agendaURI    = "calendar://events"
	calendarsURI = "calendar://calendars"

	agendaTemplate   = agendaURI + "{?start,end}"
	calendarTemplate = calendarsURI + "/{calendarId}"
	eventsTemplate   = calendarTemplate + "/events{?start,end}"
	eventTemplate    = calendarTemplate + "/events/{eventId}{?recurrenceId}"
)

func calendarURI(calendarID string) string       { return calendarsURI + "/" + calendarID }
func eventsURI(calendarID string) string         { return calendarURI(calendarID) + "/events" }
func eventURI(calendarID, eventID string) string { return eventsURI(calendarID) + "/" + eventID }

// resource is what a URI names.
type resource struct {
	kind       string // agenda, calendars, calendar, events, event
	calendarID string
	eventID    string
	query      url.Values
}

const maxURI = 2 << 10

// parseURI reads the URI of a resource. It says nothing of whether there is such a one.
func parseURI(uri string) (r resource, ok bool) {
	path, query, _ := strings.Cut(uri, "?")
	var err error
	if r.query, err = url.ParseQuery(query); err != nil || len(uri) > maxURI {
		return r, false
	}
	var may []string // be in the query
	rest, below := strings.CutPrefix(path, calendarsURI)
	ids := strings.Split(rest, "/")
	switch {
	case path == agendaURI:
		r.kind, may, ids = "agenda", []string{"start", "end"}, nil
	case !below || ids[0] != "":
		return r, false
	case len(ids) == 1:
		r.kind = "calendars"
	case len(ids) == 2:
		r.kind = "calendar"
	case len(ids) == 3 && ids[2] == "events":
		r.kind, may = "events", []string{"start", "end"}
	case len(ids) == 4 && ids[2] == "events":
		r.kind, r.eventID, may = "event", ids[3], []string{"recurrenceId"}
	default:
		return r, false
	}
	if len(ids) > 1 {
		r.calendarID = ids[1]
	}
	for name, values := range r.query {
		if !slices.Contains(may, name) || len(values) != 1 {
			return r, false
		}
	}
	return r, (len(ids) < 2 || isID(r.calendarID)) && (len(ids) < 4 || isID(r.eventID))
}

// isID says whether s can be an id: they match ^[a-zA-Z0-9_.-]+$.
func isID(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return s != ""
}

// IsResource says whether a URI has the form of a resource's, so that somebody may
// subscribe to it. Whether there is such a calendar or event is not asked: only its server
// knows, and one that is made later is worth waiting for.
func (s *Surface) IsResource(uri string) bool {
	_, ok := parseURI(uri)
	return ok
}

const jsonType = "application/json"

// The descriptions are ours: none says anything that stands in a calendar.
var (
	resources = []*mcp.Resource{
		{URI: calendarsURI, Name: "calendars", Title: "Calendars", MIMEType: jsonType,
			Description: "The user's calendars with their ids, rights and colors."},
		{URI: agendaURI, Name: "events", Title: "Events", MIMEType: jsonType,
			Description: "The first events of all calendars from today on; listEvents reads on."},
	}
	templates = []*mcp.ResourceTemplate{
		{URITemplate: agendaTemplate, Name: "agenda", Title: "Events of all calendars", MIMEType: jsonType,
			Description: "The first events of all calendars in the range from start to end; listEvents reads on."},
		{URITemplate: calendarTemplate, Name: "calendar", Title: "Calendar", MIMEType: jsonType,
			Description: "One calendar, by its id."},
		{URITemplate: eventsTemplate, Name: "events", Title: "Events of a calendar", MIMEType: jsonType,
			Description: "A calendar's first events from today on, or in the range from start to end; listEvents reads on."},
		{URITemplate: eventTemplate, Name: "event", Title: "Event", MIMEType: jsonType,
			Description: "One event by its id: a series as it is written, or its occurrence recurrenceId."},
	}
)

func (s *Surface) addResources(server *mcp.Server, c Caller) {
	read := func(ctx context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return s.readResource(ctx, c, req.Params.URI)
	}
	for _, r := range resources {
		server.AddResource(r, read)
	}
	for _, t := range templates {
		server.AddResourceTemplate(t, read)
	}
}

func (s *Surface) readResource(ctx context.Context, c Caller, uri string) (*mcp.ReadResourceResult, error) {
	contents, err := s.contents(ctx, c, uri)
	if err != nil {
		return nil, err
	}
	return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{contents}}, nil
}

// contents reads a resource: the same JSON as the tool gives that reads it.
func (s *Surface) contents(ctx context.Context, c Caller, uri string) (*mcp.ResourceContents, error) {
	r, ok := parseURI(uri)
	if !ok {
		return nil, notFound(uri)
	}
	out, err := s.read(ctx, c, r)
	if isNotFound(err) {
		return nil, notFound(uri)
	}
	if err != nil {
		return nil, s.protocolError(ctx, c, "read resource", err)
	}
	data, err := marshal(out)
	if err != nil {
		return nil, s.protocolError(ctx, c, "read resource", err)
	}
	text, err := indent(data)
	if err != nil {
		return nil, s.protocolError(ctx, c, "read resource", err)
	}
	return &mcp.ResourceContents{URI: uri, MIMEType: jsonType, Text: string(text)}, nil
}

func (s *Surface) read(ctx context.Context, c Caller, r resource) (any, error) {
	user := s.opts.Calendars.User(c.User)
	switch r.kind {
	case "agenda", "events":
		q := calendar.Query{Start: r.query.Get("start"), End: r.query.Get("end")}
		if r.calendarID != "" {
			q.Calendars = []string{r.calendarID}
		}
		return s.agenda(ctx, c, q)
	case "event":
		return answer(user.GetEvent(ctx, r.calendarID, r.eventID, r.query.Get("recurrenceId")))
	}
	got, err := user.ListCalendars(ctx)
	if err != nil {
		return nil, err
	}
	if r.kind == "calendars" {
		return &calendarsOutput{began(), showCalendars(got.Calendars), endOf(got.TimeZone, got.Freshness)}, nil
	}
	i := slices.IndexFunc(got.Calendars, func(cal calendar.Calendar) bool { return cal.ID == r.calendarID })
	if i < 0 {
		if got.Stale {
			return nil, errNotAsked
		}
		return nil, errNoCalendar
	}
	return &calendarOutput{began(), showCalendar(got.Calendars[i]), endOf(got.TimeZone, got.Freshness)}, nil
}

// listResources adds the user's calendars to what every user has. Their names are their
// ids, as what a calendar is called is no text of ours. If they can't be read, or not soon,
// they are left out: clients ask for this list when they start. Who then reads the list of
// calendars is told why.
func (s *Surface) listResources(ctx context.Context, c Caller, res *mcp.ListResourcesResult) {
	ctx, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	got, err := s.opts.Calendars.User(c.User).ListCalendars(ctx)
	if err != nil {
		s.log.InfoContext(ctx, "resources listed without calendars", "user", c.User, "err", err)
		return
	}
	for i, cal := range got.Calendars {
		if i == maxListed {
			return
		}
		res.Resources = append(res.Resources,
			&mcp.Resource{URI: calendarURI(cal.ID), Name: cal.ID, Title: "Calendar " + cal.ID, MIMEType: jsonType, Description: "One calendar of the user's."},
			&mcp.Resource{URI: eventsURI(cal.ID), Name: cal.ID + "/events", Title: "Events of calendar " + cal.ID, MIMEType: jsonType, Description: "A calendar's first events from today on; listEvents reads on."})
	}
}

const (
	maxListed    = 500 // calendars in the list of resources
	listPatience = 5 * time.Second
)
