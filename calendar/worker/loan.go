package worker

import (
	"net/http"
	"sync"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/caldav"
)

// loans are the single user's Nextcloud, from programs that share the data with this one
// and have it in their own environment. It is lent for as long as a request lasts, and
// never written down.
type loans struct {
	mu         sync.Mutex
	credential accounts.Credential // guarded by mu
	n          int                 // guarded by mu; who lend it
}

func (l *loans) take(c accounts.Credential) (first, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n > 0 && l.credential != c {
		return false, false
	}
	l.credential = c
	l.n++
	return l.n == 1, true
}

func (l *loans) giveBack() (last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n--; l.n == 0 {
		l.credential = accounts.Credential{}
	}
	return l.n == 0
}

func (l *loans) current() (accounts.Credential, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.credential, l.n > 0
}

// controlLoan takes a credential until the request ends.
func (w *Worker) controlLoan(rw http.ResponseWriter, r *http.Request) {
	var body ControlCredential
	r.Body = http.MaxBytesReader(rw, r.Body, maxControlBody)
	if err := decodeBody(r, &body); err != nil {
		status, text := controlProblem(err)
		fail(rw, status, text)
		return
	}
	if w.running.isEnding() {
		w.ending(rw, r)
		return
	}
	c := accounts.Credential{Server: body.Server, Username: body.Username, Password: body.Password}
	if _, err := caldav.New(c.Server, &w.opts.CalDAV); err != nil {
		fail(rw, http.StatusBadRequest, err.Error())
		return
	}
	own := w.opts.Nextcloud != (accounts.Credential{})
	first, ok := false, w.opts.Nextcloud == c
	if !own {
		if first, ok = w.loans.take(c); ok {
			defer func() { w.loanChanged(w.loans.giveBack()) }()
		}
	}
	if !ok {
		fail(rw, http.StatusConflict, "the process that holds the data has another Nextcloud for the single user: add a user for each, or keep their data apart")
		return
	}
	w.loanChanged(first)
	writeJSON(rw, http.StatusOK, struct{}{})
	http.NewResponseController(rw).Flush()
	select {
	case <-r.Context().Done():
	case <-w.streams.Done():
	}
}

// loanChanged says that the single user has other calendars from now on.
func (w *Worker) loanChanged(changed bool) {
	if changed {
		w.credentialChanged(accounts.Me)
	}
}
