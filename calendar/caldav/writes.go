package caldav

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Before an object is written, the calendar's type and the user's privileges are read:
//
//  1. Nextcloud answers 404 to a write into a read-only share, as if the calendar or the
//     object were gone, and a caller would drop its copy.
//  2. It takes writes into a calendar that is in the trash, with 201, and they are lost.
//
// A positive answer is believed for a while, a negative one is read again each time. As
// privileges may change in between, a 403 or 404 to the write itself makes us read them
// once more, to say which of the two it was.

// privilegeTTL is how long a positive answer is believed.
const privilegeTTL = 30 * time.Second

// maxPrivileges bounds what an account remembers.
const maxPrivileges = 10_000

// privilege is what a user may do in a calendar, and until when we believe it.
type privilege struct {
	granted Privileges
	until   time.Time
}

// write sends a request that writes an object, for which the user needs a privilege on its
// calendar.
func (c *Client) write(ctx context.Context, r *request, need string, read func(*answer) error) error {
	calendar := parent(r.href)
	if err := c.mayWrite(ctx, calendar, need); err != nil {
		return err
	}
	if c.hushed {
		r.header.Set("Schedule-Reply", "F")
		r.header.Set("X-NC-Scheduling", "false")
		r.header.Set("Scheduling-Enabled", "F") // Cyrus
	}
	err := c.exchange(ctx, r, func(a *answer) error {
		if err := c.refusal(r, a); err != nil {
			return err
		}
		return read(a)
	})
	if errors.Is(err, ErrForbidden) || errors.Is(err, ErrNotFound) {
		c.forgetPrivileges(calendar)
		if why := c.mayWrite(ctx, calendar, need); errors.Is(why, ErrReadOnly) {
			return why
		}
	}
	return err
}

func (c *Client) mayWrite(ctx context.Context, calendar, need string) error {
	a := c.account
	a.mu.Lock()
	known := a.writable[calendar]
	a.mu.Unlock()
	if time.Now().Before(known.until) && known.granted.Has(need) {
		return nil
	}
	granted, err := c.readPrivileges(ctx, calendar)
	if err != nil {
		return err
	}
	if !granted.Has(need) {
		return fmt.Errorf("%w: %s", ErrReadOnly, calendar)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.writable == nil || len(a.writable) >= maxPrivileges {
		a.writable = make(map[string]privilege)
	}
	a.writable[calendar] = privilege{granted, time.Now().Add(privilegeTTL)}
	return nil
}

// readPrivileges returns what the user may do; ErrNotFound if there is no calendar.
func (c *Client) readPrivileges(ctx context.Context, calendar string) (Privileges, error) {
	var granted Privileges
	found := false
	names := []xml.Name{propResourceType, propPrivileges, propReadOnly}
	err := c.propfind(ctx, calendar, "0", names, func(at string, resp *response) error {
		if isCalendar(resp) && SameCollection(at, calendar) {
			found, granted = true, privileges(resp.prop(propPrivileges))
			if resp.text(propReadOnly) == "1" {
				granted = Privileges{"read"}
			}
		}
		return nil
	})
	if err == nil && !found {
		err = &StatusError{Method: "PROPFIND", Href: calendar, Status: http.StatusNotFound, Message: "not a calendar"}
	}
	return granted, err
}

func (c *Client) forgetPrivileges(calendar string) {
	c.account.mu.Lock()
	delete(c.account.writable, calendar)
	c.account.mu.Unlock()
}
