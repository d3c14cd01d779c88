package worker

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/accounts"
)

// Who a request comes from, where users' data is served:
//
//	there are users      the user whose name (or id) and secret came as Basic, or whose
//	                     token came as Bearer; the operator's token opens nothing here
//	none, with a token   me, if the token came as Basic password of "me" or as Bearer
//	none, without        me, whoever asks: only this machine can
var me = accounts.User{ID: accounts.Me, Name: accounts.Me}

// door is a way in: what shows who somebody is there, and how often he may come.
type door struct {
	basic  bool // name and secret will do, too
	limits *limits
}

var (
	errLogin = &refusal{status: http.StatusUnauthorized, text: "Log in with a user's name and secret",
		challenge: `Basic realm="perdure", charset="UTF-8"`}
	// What RFC 6750, section 3, says: without a token no word of an error.
	errNoToken = &refusal{status: http.StatusUnauthorized, text: "A token is needed: send it as Authorization: Bearer …",
		challenge: `Bearer realm="perdure"`}
	errToken = &refusal{status: http.StatusUnauthorized, text: "The token is not valid",
		challenge: `Bearer realm="perdure", error="invalid_token", error_description="The token is not valid"`}
)

func (d *door) unknown() error {
	if d.basic {
		return errLogin
	}
	return errNoToken
}

func (d *door) wrong() error {
	if d.basic {
		return errLogin
	}
	return errToken
}

// asUser finds out whose request it is and serves it with the user, or refuses it. The
// request's context ends when the user is removed. What the user has proved himself with
// goes no further.
func (w *Worker) asUser(rw http.ResponseWriter, r *http.Request, d *door, serve func(http.ResponseWriter, *http.Request, accounts.User)) {
	u, visit, leave, err := w.login(rw, r, d)
	if err != nil {
		w.refuse(rw, r, err)
		return
	}
	defer leave()
	if err := d.limits.take(u.ID, time.Now()); err != nil {
		w.refuse(rw, r, err)
		return
	}
	visit.Header = visit.Header.Clone()
	visit.Header.Del("Authorization")
	serve(rw, visit, u)
}

func (w *Worker) login(rw http.ResponseWriter, r *http.Request, d *door) (u accounts.User, visit *http.Request, leave func(), err error) {
	any, err := w.accounts.Any(r.Context())
	if err != nil {
		return u, nil, nil, err
	}
	if !any && w.opts.Token == "" {
		return w.enterMe(rw, r, d)
	}
	p, given := presented(r, d)
	if !given {
		return u, nil, nil, d.unknown()
	}
	name := p.name
	if !any {
		name = accounts.Me // one secret to guess, whatever stands before it
	}
	key := keyOf(r.RemoteAddr, name)
	paid, wait := w.guard.begin(key, time.Now())
	if wait > 0 {
		return u, nil, nil, w.heldBack(r, wait)
	}
	switch {
	case any:
		u, visit, leave, err = w.loginUser(rw, r, p)
	case (p.bearer || p.name == accounts.Me) && sameSecret(p.secret, w.opts.Token):
		u, visit, leave, err = w.enterMe(rw, r, d)
	default:
		err = errWrong
	}
	w.guard.end(key, time.Now(), paid, !errors.Is(err, errWrong))
	if errors.Is(err, errWrong) {
		err = d.wrong()
	}
	return u, visit, leave, err
}

// errWrong: name and secret are nobody's.
var errWrong = errors.New("worker: wrong secret")

func (w *Worker) heldBack(r *http.Request, wait time.Duration) error {
	if more, ok := w.heldLog.take(time.Now()); ok {
		w.log.LogAttrs(r.Context(), slog.LevelWarn, "failed logins are held back", slog.String("address", r.RemoteAddr), slog.Int("more", more))
	}
	return &refusal{status: http.StatusTooManyRequests, text: "Too many failed logins", wait: wait}
}

// enterMe lets the single user in, whose time ends with the first one who is added.
func (w *Worker) enterMe(rw http.ResponseWriter, r *http.Request, d *door) (u accounts.User, visit *http.Request, leave func(), err error) {
	visit, leave = w.visits.enter(r, accounts.Me, rw)
	any, err := w.accounts.Any(visit.Context()) // anew: see visits
	if err == nil && any {
		err = d.wrong()
	}
	if err != nil {
		leave()
		return u, nil, nil, err
	}
	return me, visit, leave, nil
}

// proof is what a request brings to log in.
type proof struct {
	name   string // for Bearer, what stands before the token's dot
	secret string
	bearer bool
}

func presented(r *http.Request, d *door) (p proof, given bool) {
	if name, secret, ok := r.BasicAuth(); ok {
		return proof{name: name, secret: secret}, d.basic
	}
	token, ok := bearer(r)
	if !ok {
		return proof{}, false
	}
	name, _, _ := strings.Cut(token, ".")
	return proof{name, token, true}, true
}

func bearer(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}

func (w *Worker) loginUser(rw http.ResponseWriter, r *http.Request, p proof) (u accounts.User, visit *http.Request, leave func(), err error) {
	if p.bearer {
		u, err = w.accounts.FindByToken(r.Context(), p.secret)
	} else {
		u, err = w.accounts.Find(r.Context(), p.name)
	}
	if errors.Is(err, accounts.ErrNoUser) {
		return u, nil, nil, errWrong
	}
	if err != nil {
		return u, nil, nil, err
	}
	visit, leave = w.visits.enter(r, u.ID, rw)
	if err = w.accounts.Verify(r.Context(), u, p.secret); err != nil {
		leave()
		if errors.Is(err, accounts.ErrRefused) {
			err = errWrong
		}
		return u, nil, nil, err
	}
	return u, visit, leave, nil
}

// sameSecret compares without telling by its time how much was right.
func sameSecret(got, want string) bool {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
