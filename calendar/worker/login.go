package worker

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/durable"
)

// Who a request comes from, where users' data is served:
//
//	there are users      the user whose name (or id) and secret came as Basic, or whose
//	                     token came as Bearer; the operator's token opens nothing here
//	none, with a token   me, if the token came as Basic password of "me" or as Bearer
//	none, without        me, whoever asks: only this machine can
var me = accounts.User{ID: accounts.Me, Name: accounts.Me}

// refusal is why somebody is not let in.
type refusal struct {
	status int
	text   string
	wait   time.Duration // for 429
}

func (e *refusal) Error() string { return e.text }

var (
	errLogin = &refusal{status: http.StatusUnauthorized, text: "Log in with a user's name and secret"}
	errProxy = &refusal{status: http.StatusForbidden, text: "This request came through a proxy, and nothing here is protected by a secret: set PERDURE_TOKEN, or add users"}
)

// asUser finds out whose request it is and serves it with the user, or refuses it. The
// request's context ends when the user is removed.
func (w *Worker) asUser(rw http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter, *http.Request, accounts.User)) {
	u, ctx, leave, err := w.login(rw, r)
	if err != nil {
		w.refuse(rw, r, err)
		return
	}
	defer leave()
	serve(rw, r.WithContext(ctx), u)
}

func (w *Worker) login(rw http.ResponseWriter, r *http.Request) (u accounts.User, ctx context.Context, leave func(), err error) {
	ctx = r.Context()
	any, err := w.accounts.Any(ctx)
	if err != nil {
		return u, nil, nil, err
	}
	if !any && w.opts.Token == "" {
		if forwarded(r) {
			return u, nil, nil, errProxy
		}
		return me, ctx, func() {}, nil
	}
	p, given := presented(r)
	if !given {
		return u, nil, nil, errLogin
	}
	name := p.name
	if !any {
		name = accounts.Me // one secret to guess, whatever stands before it
	}
	key := keyOf(r.RemoteAddr, name)
	paid, wait := w.guard.begin(key, time.Now())
	if wait > 0 {
		return u, nil, nil, &refusal{status: http.StatusTooManyRequests, text: "Too many failed logins", wait: wait}
	}
	if any {
		u, ctx, leave, err = w.loginUser(rw, r, p)
	} else {
		u, leave, err = me, func() {}, w.loginMe(p)
	}
	w.guard.end(key, time.Now(), paid, !errors.Is(err, errLogin))
	return u, ctx, leave, err
}

// proof is what a request brings to log in.
type proof struct {
	name   string // for Bearer, what stands before the token's dot
	secret string
	bearer bool
}

func presented(r *http.Request) (p proof, given bool) {
	if name, secret, ok := r.BasicAuth(); ok {
		return proof{name: name, secret: secret}, true
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

func (w *Worker) loginMe(p proof) error {
	if (p.bearer || p.name == accounts.Me) && sameSecret(p.secret, w.opts.Token) {
		return nil
	}
	return errLogin
}

func (w *Worker) loginUser(rw http.ResponseWriter, r *http.Request, p proof) (u accounts.User, ctx context.Context, leave func(), err error) {
	if p.bearer {
		u, err = w.accounts.FindByToken(r.Context(), p.secret)
	} else {
		u, err = w.accounts.Find(r.Context(), p.name)
	}
	if errors.Is(err, accounts.ErrNoUser) {
		return u, nil, nil, errLogin
	}
	if err != nil {
		return u, nil, nil, err
	}
	ctx, leave = w.visits.enter(r.Context(), u.ID, rw)
	if err = w.accounts.Verify(r.Context(), u, p.secret); err != nil {
		leave()
		if errors.Is(err, accounts.ErrRefused) {
			err = errLogin
		}
		return u, nil, nil, err
	}
	return u, ctx, leave, nil
}

// sameSecret compares without telling by its time how much was right.
func sameSecret(got, want string) bool {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// forwarded says whether a proxy has passed the request on, so that its address says
// nothing of who sent it.
func forwarded(r *http.Request) bool {
	if r.Header.Get("Forwarded") != "" {
		return true
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Forwarded-") {
			return true
		}
	}
	return false
}

// refuse answers a request that is not let in. Who it was that failed is not logged:
// people type secrets where names belong.
func (w *Worker) refuse(rw http.ResponseWriter, r *http.Request, err error) {
	var why *refusal
	if !errors.As(err, &why) {
		w.broken(rw, r, err)
		return
	}
	switch why.status {
	case http.StatusUnauthorized:
		rw.Header().Set("WWW-Authenticate", `Basic realm="perdure", charset="UTF-8"`)
	case http.StatusTooManyRequests:
		seconds := int(math.Ceil(why.wait.Seconds()))
		rw.Header().Set("Retry-After", strconv.Itoa(seconds))
		w.log.LogAttrs(r.Context(), slog.LevelWarn, "failed logins are held back", slog.String("address", r.RemoteAddr))
	}
	fail(rw, why.status, why.text)
}

// broken answers a request that fails for a reason that is ours.
func (w *Worker) broken(rw http.ResponseWriter, r *http.Request, err error) {
	for _, passing := range []error{durable.ErrOverloaded, durable.ErrShutdown, durable.ErrClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, passing) {
			rw.Header().Set("Retry-After", "1")
			fail(rw, http.StatusServiceUnavailable, "The server is busy or ending")
			return
		}
	}
	w.log.LogAttrs(r.Context(), slog.LevelError, "request failed", slog.String("method", r.Method), slog.Any("error", err))
	fail(rw, http.StatusInternalServerError, "Internal error")
}
