package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/davserver"
)

// Credential returns how a user logs in to a calendar server elsewhere: for the single
// user that of [Options], else one that is lent, else the one that he has logged in with. It returns
// [accounts.ErrNoCredential] for a user whose calendars are on this server, and
// [accounts.ErrNoUser] for one who was removed.
func (w *Worker) Credential(ctx context.Context, id string) (accounts.Credential, error) {
	if id == accounts.Me {
		if w.opts.Nextcloud != (accounts.Credential{}) {
			return w.opts.Nextcloud, nil
		}
		if c, lent := w.loans.current(); lent {
			return c, nil
		}
	}
	return w.accounts.Credential(ctx, id)
}

// Account finds where a user's calendars are, elsewhere or here. It is what a
// [calendar.Service] needs, and asks for the credential each time, so that a login shows
// at once.
func (w *Worker) Account(ctx context.Context, id string) (calendar.Account, error) {
	c, err := w.Credential(ctx, id)
	if errors.Is(err, accounts.ErrNoCredential) {
		client, err := w.OwnClient(id)
		// A change made through /dav/ shows in the next answer.
		return calendar.Account{Client: client, Source: "here", AlwaysCheck: true, Inside: true}, err
	}
	if err != nil {
		return calendar.Account{}, err
	}
	server, err := w.servers.client(c.Server, &w.opts.CalDAV)
	if err != nil {
		return calendar.Account{}, fmt.Errorf("calendar server of user %s: %w", id, err)
	}
	proof, err := w.accounts.Proof(id, c)
	if err != nil { // without it a changed password is found out after the TTL
		w.noProof.Do(func() {
			w.log.LogAttrs(ctx, slog.LevelWarn, "whether passwords have changed can't be told", slog.Any("error", err))
		})
	}
	account := calendar.Account{
		Client: server.As(caldav.Credential{Username: c.Username, Password: c.Password}),
		Source: c.Server + " " + c.Username, Proof: proof,
	}
	if strings.Contains(c.Username, "@") {
		account.Addresses = []string{c.Username}
	}
	return account, nil
}

// OwnClient returns a client for a user's calendars on this server. Its requests stay in
// the process, and are the user's whatever they hold. It is not for strangers: nothing
// is checked. Paths hold the user's id, which no renaming changes.
func (w *Worker) OwnClient(id string) (*caldav.Client, error) {
	h := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.ownDAV.ServeHTTP(rw, r.WithContext(davserver.WithUser(r.Context(), davserver.User{ID: id})))
	})
	return caldav.New("http://localhost"+davPrefix, &caldav.Options{Transport: InProcess(h), Logger: w.log})
}

// maxServers bounds how many servers are remembered.
const maxServers = 1024

// servers are clients without a user, one a server, so that its users share what a
// server's clients share.
type servers struct {
	mu    sync.Mutex
	known map[string]*caldav.Client // guarded by mu; by address
}

func (s *servers) client(address string, opts *caldav.Options) (*caldav.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.known[address]; c != nil {
		return c, nil
	}
	c, err := caldav.New(address, opts)
	if err != nil {
		return nil, err
	}
	if s.known == nil || len(s.known) >= maxServers {
		s.known = make(map[string]*caldav.Client)
	}
	s.known[address] = c
	return c, nil
}
