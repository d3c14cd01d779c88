package caldav

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// ListCalendars returns the calendars of a home, in the order in which the server names
// them. Inbox, outbox, trash, subscriptions and deleted calendars are none. A user without
// any (in Nextcloud one who has only ever used an app password) has an empty list.
func (c *Client) ListCalendars(ctx context.Context, home Home) ([]Calendar, error) {
	var out []Calendar
	for _, set := range home.Sets {
		err := c.propfind(ctx, set, "1", calendarProps, func(href string, resp *response) error {
			if isCalendar(resp) {
				out = append(out, c.newCalendar(href, resp))
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list calendars: %w", err)
		}
	}
	return out, nil
}

// GetCalendar returns one calendar. ErrNotFound also if the collection is no calendar any
// more.
func (c *Client) GetCalendar(ctx context.Context, href string) (Calendar, error) {
	cal, err := c.getCalendar(ctx, href)
	if err != nil {
		return cal, fmt.Errorf("get calendar: %w", err)
	}
	return cal, nil
}

func (c *Client) getCalendar(ctx context.Context, href string) (Calendar, error) {
	href, err := Canonical(collection(href))
	if err != nil {
		return Calendar{}, err
	}
	var cal Calendar
	err = c.propfind(ctx, href, "0", calendarProps, func(at string, resp *response) error {
		if isCalendar(resp) && SameCollection(at, href) {
			cal = c.newCalendar(at, resp)
		}
		return nil
	})
	if err == nil && cal.Href == "" {
		err = &StatusError{Method: "PROPFIND", Href: href, Status: http.StatusNotFound, Message: "not a calendar"}
	}
	return cal, err
}

// Version says whether a calendar changed: either differs if it did. Where a server has
// neither, both are empty.
type Version struct {
	CTag      string
	SyncToken string
}

// GetVersion asks for a calendar's version only, which is quick. ErrNotFound also if the
// collection is no calendar any more.
func (c *Client) GetVersion(ctx context.Context, href string) (Version, error) {
	href, err := Canonical(collection(href))
	if err != nil {
		return Version{}, err
	}
	var v Version
	found := false
	names := []xml.Name{propResourceType, propCTag, propSyncToken}
	err = c.propfind(ctx, href, "0", names, func(at string, resp *response) error {
		if isCalendar(resp) && SameCollection(at, href) {
			found = true
			v = Version{resp.text(propCTag), resp.text(propSyncToken)}
		}
		return nil
	})
	if err == nil && !found {
		err = &StatusError{Method: "PROPFIND", Href: href, Status: http.StatusNotFound, Message: "not a calendar"}
	}
	if err != nil {
		return v, fmt.Errorf("version of calendar: %w", err)
	}
	return v, nil
}

// Props are properties to set on a calendar. Nil leaves one alone; where an empty value
// makes no sense ("" but for DisplayName, 0 for FocusPriority), it removes the property.
type Props struct {
	DisplayName   *string
	Description   *string
	Color         *string // as "#RRGGBB"; not checked
	Order         *int
	Timezone      *string // an iCalendar object with one VTIMEZONE; not checked
	Transparent   *bool
	Category      *string
	FocusPriority *int

	// Components can only be set by CreateCalendar; others ignore them.
	Components []string
}

// set and remove write the standard properties.
func (p *Props) set(w *body) {
	text := func(name xml.Name, v *string) {
		if v != nil && (*v != "" || name == propDisplayName) {
			w.text(name, *v)
		}
	}
	text(propDisplayName, p.DisplayName)
	text(propDescription, p.Description)
	text(propColor, p.Color)
	text(propTimezone, p.Timezone)
	if p.Order != nil {
		w.text(propOrder, strconv.Itoa(*p.Order))
	}
	if p.Transparent != nil {
		value := "opaque"
		if *p.Transparent {
			value = "transparent"
		}
		w.start(propTransparent).empty(caldav(value)).end()
	}
}

func (p *Props) removed() []xml.Name {
	var out []xml.Name
	for name, v := range map[xml.Name]*string{propDescription: p.Description, propColor: p.Color, propTimezone: p.Timezone} {
		if v != nil && *v == "" {
			out = append(out, name)
		}
	}
	slices.SortFunc(out, func(a, b xml.Name) int { return strings.Compare(a.Local, b.Local) })
	return out
}

// extra writes category and focus priority under the given names.
func (p *Props) extra(w *body, category, priority xml.Name) (removed []xml.Name) {
	if p.Category != nil && *p.Category == "" {
		removed = append(removed, category)
	} else if p.Category != nil {
		w.text(category, *p.Category)
	}
	if p.FocusPriority != nil && *p.FocusPriority == 0 {
		removed = append(removed, priority)
	} else if p.FocusPriority != nil {
		w.text(priority, strconv.Itoa(*p.FocusPriority))
	}
	return removed
}

func (p *Props) hasExtra() bool { return p.Category != nil || p.FocusPriority != nil }

// CreateCalendar makes a calendar (RFC 4791, section 5.3.1) and returns it as the server
// has it: servers ignore properties that they don't know, Nextcloud silently, so what was
// asked for is not always there, category and focus priority above all. href is best a [Join] of a home's set and a name never
// used before: in Nextcloud the name of a deleted calendar is taken for 30 days (ErrExists).
//
// Once the calendar exists, a failure to set its category or to read it back (a refusal is
// none) is a [StoredError].
//
// Errors: ErrExists, ErrForbidden (also a limit on the number of calendars),
// ErrRateLimited (Nextcloud allows ten an hour), ErrNotFound if there is no such home.
func (c *Client) CreateCalendar(ctx context.Context, href string, p Props) (Calendar, error) {
	href, err := Canonical(collection(href))
	if err != nil {
		return Calendar{}, fmt.Errorf("create calendar: %w", err)
	}
	w := newBody(caldav("mkcalendar")).start(dav("set")).start(dav("prop"))
	empty := w.b.Len()
	p.set(w)
	if len(p.Components) > 0 {
		w.start(propComponents)
		for _, name := range p.Components {
			w.empty(caldav("comp"), "name", name)
		}
		w.end()
	}
	r := &request{method: "MKCALENDAR", href: href}
	if w.b.Len() > empty {
		r.header, r.body = xmlHeader(""), w.bytes()
	}
	if err := c.update(ctx, r); err != nil {
		return Calendar{}, fmt.Errorf("create calendar: %w", err)
	}
	// Dead properties are ignored at creation.
	if err := c.setExtra(ctx, href, &p); err != nil {
		return Calendar{}, &StoredError{Href: href, Err: err}
	}
	cal, err := c.getCalendar(ctx, href)
	if err != nil {
		return Calendar{}, &StoredError{Href: href, Err: err}
	}
	return cal, nil
}

// UpdateCalendar changes properties: all of them, or none and a [PropError]. Category and
// focus priority follow in requests of their own; that a server does not keep them is no
// error, and is seen by reading the calendar.
func (c *Client) UpdateCalendar(ctx context.Context, href string, p Props) error {
	href, err := Canonical(collection(href))
	if err != nil {
		return fmt.Errorf("update calendar: %w", err)
	}
	w := newBody(dav("propertyupdate")).start(dav("set")).start(dav("prop"))
	empty := w.b.Len()
	p.set(w)
	err = c.proppatch(ctx, href, w, w.b.Len() > empty, p.removed())
	if err == nil {
		err = c.setExtra(ctx, href, &p)
	}
	if err != nil {
		return fmt.Errorf("update calendar: %w", err)
	}
	return nil
}

// setExtra writes category and focus priority in our namespace and in owncloud's, apart
// from each other, as a refusal of one would take the other with it. Stock Nextcloud takes
// owncloud's and never gives it back; Xandikos refuses both. A refusal is no error: it is
// the same as being ignored, which can't be told either.
func (c *Client) setExtra(ctx context.Context, href string, p *Props) error {
	if !p.hasExtra() {
		return nil
	}
	write := func(category, priority xml.Name) error {
		w := newBody(dav("propertyupdate")).start(dav("set")).start(dav("prop"))
		empty := w.b.Len()
		removed := p.extra(w, category, priority)
		return c.proppatch(ctx, href, w, w.b.Len() > empty, removed)
	}
	var refused *PropError
	for _, names := range [][2]xml.Name{{propCategory, propPriority}, {propOCCategory, propOCPriority}} {
		err := write(names[0], names[1])
		if errors.As(err, &refused) {
			c.server.log.DebugContext(ctx, "caldav properties not kept", "href", href, "err", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// proppatch sends an update whose set is open in w. Nothing is sent if it is empty.
func (c *Client) proppatch(ctx context.Context, href string, w *body, set bool, removed []xml.Name) error {
	if !set && len(removed) == 0 {
		return nil
	}
	if !set {
		w = newBody(dav("propertyupdate"))
	} else {
		w.end().end()
	}
	if len(removed) > 0 {
		w.start(dav("remove")).props(removed...).end()
	}
	return c.update(ctx, &request{method: "PROPPATCH", href: href, header: xmlHeader(""), body: w.bytes()})
}

// update sends a request that changes something.
func (c *Client) update(ctx context.Context, r *request) error {
	return c.exchange(ctx, r, func(a *answer) error { return c.refusal(r, a) })
}

// DeleteCalendar deletes a calendar with all it holds. Nextcloud moves it to its trash;
// package nextcloud can delete it for good. Deleting a calendar that another shares only
// ends the share for this user.
func (c *Client) DeleteCalendar(ctx context.Context, href string) error {
	href, err := Canonical(collection(href))
	if err == nil {
		c.forgetPrivileges(href)
		err = c.update(ctx, &request{method: http.MethodDelete, href: href})
	}
	if err != nil {
		return fmt.Errorf("delete calendar: %w", err)
	}
	return nil
}
