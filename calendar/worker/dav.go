package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/davserver"
)

// davPrefix is where the calendar server answers.
const davPrefix = "/dav/"

// wellKnown is where clients look for it (RFC 6764, section 5).
const wellKnown = "/.well-known/caldav"

func davUser(u accounts.User) davserver.User { return davserver.User{ID: u.ID, Name: u.Name} }

// serveDAV serves /dav/ to the user who has logged in.
func (w *Worker) serveDAV(rw http.ResponseWriter, r *http.Request) {
	w.asUser(rw, r, &w.davDoor, func(rw http.ResponseWriter, r *http.Request, u accounts.User) {
		user := davUser(u)
		if r.Method == "PROPFIND" { // the one that shows them
			settings, err := w.Settings().LoadSettings(r.Context(), u.ID)
			if err != nil {
				w.refuse(rw, r, err)
				return
			}
			user.Addresses = settings.Addresses
		}
		w.dav.ServeHTTP(rw, r.WithContext(davserver.WithUser(r.Context(), user)))
	})
}

// SeedMe makes the single user's first calendars on this server, unless there ever were
// any, or other users. One whose calendars are elsewhere finds them at /dav/, and after
// logging out. It may be called at every start, and then tells of a credential that can't be read.
func (w *Worker) SeedMe(ctx context.Context) error {
	any, err := w.accounts.Any(ctx)
	if err != nil || any {
		return err
	}
	if _, err = w.Credential(ctx, accounts.Me); err == nil || errors.Is(err, accounts.ErrNoCredential) {
		err = w.dav.Seed(ctx, davUser(me))
	}
	if err != nil {
		return fmt.Errorf("first calendars: %w", err)
	}
	return nil
}
