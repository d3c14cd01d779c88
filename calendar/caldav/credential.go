package caldav

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Credential is what Basic authentication sends (RFC 7617). The zero value sends nothing.
// Printing one shows no password.
type Credential struct {
	Username string
	Password string
}

// String returns the user name only.
func (c Credential) String() string { return c.Username }

// GoString returns the user name only.
func (c Credential) GoString() string { return "caldav.Credential{" + c.Username + "}" }

func (c Credential) header() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}

// redact takes the credential out of a text that came from a server or a transport.
func (c Credential) redact(s string) string {
	if c.Password == "" {
		return s
	}
	s = strings.ReplaceAll(s, strings.TrimPrefix(c.header(), "Basic "), "***")
	return strings.ReplaceAll(s, c.Password, "***")
}

// account is what the process knows about one credential at one server. It is shared by
// all Clients with that credential.
//
//  1. A credential that was refused is not sent again.
//  2. A credential that has not yet been accepted is tried by one request at a time, so
//     that a wrong password costs one failure however many callers start at once. A
//     Nextcloud bans the whole address after ten.
type account struct {
	cred  Credential
	probe chan struct{} // capacity 1: held by the request that tries an unproven credential

	mu       sync.Mutex // guards what follows
	proven   bool
	refused  bool
	paused   time.Time            // no request before this: a 429 said so
	writable map[string]privilege // what may be done in a calendar, see writes.go
}

func newAccount(cred Credential) *account {
	return &account{cred: cred, probe: make(chan struct{}, 1)}
}

// enter waits until a request may use the credential. The caller calls leave when the
// answer is known.
func (a *account) enter(ctx context.Context) (leave func(), err error) {
	nothing := func() {}
	if a.cred == (Credential{}) {
		return nothing, nil
	}
	if proven, err := a.state(); proven || err != nil {
		return nothing, err
	}
	select {
	case a.probe <- struct{}{}:
	case <-ctx.Done():
		return nothing, context.Cause(ctx)
	}
	release := func() { <-a.probe }
	proven, err := a.state()
	if proven || err != nil {
		release()
		return nothing, err
	}
	return release, nil
}

func (a *account) state() (proven bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused {
		return false, &StatusError{Status: http.StatusUnauthorized, Remembered: true}
	}
	return a.proven, nil
}

// saw learns from an answer. A success of GET proves nothing: it may be public. It reports
// whether the credential is refused from now on.
func (a *account) saw(method string, status int) (refused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.cred == (Credential{}):
	case status == http.StatusUnauthorized:
		refused = !a.refused
		a.refused, a.proven = true, false
	case status/100 == 2 && method != http.MethodGet && method != http.MethodOptions:
		a.proven = true
	}
	return refused
}

// accounts are those of one server. They are few: one a user, and what users mistyped.
type accounts struct {
	mu    sync.Mutex // guards known
	known map[[sha256.Size]byte]*account
}

// maxAccounts bounds the memory; far above it is abuse, and what is dropped is only
// knowledge, not function. Proven ones go first: they cost nothing to learn again.
const maxAccounts = 4096

func (as *accounts) of(cred Credential) *account {
	if cred == (Credential{}) {
		return newAccount(cred)
	}
	key := sha256.Sum256([]byte(cred.header()))
	as.mu.Lock()
	defer as.mu.Unlock()
	if a := as.known[key]; a != nil {
		return a
	}
	if as.known == nil {
		as.known = make(map[[sha256.Size]byte]*account)
	}
	if len(as.known) >= maxAccounts {
		as.dropLocked()
	}
	a := newAccount(cred)
	as.known[key] = a
	return a
}

func (as *accounts) dropLocked() {
	var last [sha256.Size]byte
	for key, a := range as.known {
		last = key
		if proven, _ := a.state(); proven {
			break
		}
	}
	delete(as.known, last)
}
