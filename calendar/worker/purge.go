package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/calcache"
)

// removeUser ends a user's access, the requests that run included, and with purge
// deletes his data. It may be repeated, wherever it broke off:
//
//  1. Access ends first. No data is deleted while a request of the user may still write.
//  2. Accounts forget the user last: until then he can be named.
//
// left says why a password of the user elsewhere may still be valid there.
func (w *Worker) removeUser(ctx context.Context, nameOrID string, purge bool) (u accounts.User, left string, err error) {
	u, was, err := w.accounts.RemoveTaking(ctx, nameOrID)
	if err != nil {
		return u, "", err
	}
	err = w.expel(ctx, u.ID)
	left = w.giveBackFormer(ctx, was, false) // whatever else fails: there is no second copy
	if err != nil {
		return u, left, fmt.Errorf("wait for the user's requests: %w", err)
	}
	if !purge {
		return u, left, nil
	}
	if err := w.purge(ctx, u); err != nil {
		return u, left, fmt.Errorf("purge user %s: %w", u.ID, err)
	}
	return u, left, nil
}

// Expel ends the requests that run in this process on behalf of a user who has been
// removed, waits for their end, and frees what is in memory of the user.
func (w *Worker) Expel(ctx context.Context, id string) error {
	err := w.visits.expel(ctx, id)
	if err == nil && w.mcp != nil {
		err = w.mcp.Settle(ctx, id)
	}
	w.forget(id)
	return err
}

// expel is Expel in all processes.
func (w *Worker) expel(ctx context.Context, id string) error {
	err := w.Expel(ctx, id)
	if w.opts.Elsewhere != nil {
		err = errors.Join(err, w.opts.Elsewhere(ctx, id))
	}
	return err
}

// forget frees what is in memory of a user.
func (w *Worker) forget(id string) {
	w.mcpDoor.limits.forget(id)
	w.davDoor.limits.forget(id)
	if w.calendar != nil {
		w.calendar.Forget(id)
	}
}

// purge deletes what is stored under a removed user's id. Sessions of SessionStore are
// stored under ids of their own and end by themselves.
func (w *Worker) purge(ctx context.Context, u accounts.User) error {
	if w.mcp != nil {
		if err := w.mcp.EndUser(ctx, u.ID); err != nil {
			return fmt.Errorf("MCP sessions: %w", err)
		}
	}
	if err := w.purgeCalendars(ctx, u.ID); err != nil {
		return err
	}
	if err := w.purgeCache(ctx, u.ID); err != nil {
		return err
	}
	return w.accounts.Erase(ctx, u.ID)
}

func (w *Worker) purgeCalendars(ctx context.Context, id string) error {
	c, err := w.OwnClient(id)
	if err != nil {
		return err
	}
	home, err := c.Discover(ctx)
	if err != nil {
		return err
	}
	calendars, err := c.ListCalendars(ctx, home)
	if err != nil {
		return err
	}
	for _, cal := range calendars {
		if err := c.DeleteCalendar(ctx, cal.Href); err != nil {
			return err
		}
	}
	return nil
}

func (w *Worker) purgeCache(ctx context.Context, id string) error {
	caches := w.rt.Namespace(calcache.ClassName)
	if caches == nil { // no migration has made the class
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, "http://do/clear?userId="+url.QueryEscape(id), nil)
	if err != nil {
		return err
	}
	resp, err := caches.Named(id).RoundTrip(req)
	if err != nil {
		return fmt.Errorf("clear cache: %w", err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("clear cache: status %d", resp.StatusCode)
	}
	return nil
}
