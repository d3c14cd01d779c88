package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/caldav/nextcloud"
)

// ControlCredential is a credential on its way to [Worker.Control].
type ControlCredential struct {
	Server       string `json:"server"`
	Username     string `json:"username"`
	Password     string `json:"password"`
	InsecureHTTP bool   `json:"insecureHTTP,omitempty"` // the server may be one on plain http, elsewhere
}

// String returns user name and server only.
func (c ControlCredential) String() string { return c.Username + " at " + c.Server }

// GoString returns user name and server only.
func (c ControlCredential) GoString() string { return "worker.ControlCredential{" + c.String() + "}" }

// ControlLogin is where a user's calendars are elsewhere, as [Worker.Control] shows it; zero
// if they are here. Nothing that it says lets anybody in.
type ControlLogin struct {
	Server   string `json:"server,omitempty"`
	Username string `json:"username,omitempty"`
	Given    bool   `json:"given,omitempty"` // by the variables of a process, while that lives: not by a login
}

// ControlLogout is what has become of a credential that was deleted.
type ControlLogout struct {
	ControlLogin
	Left string `json:"left,omitempty"` // why the password may still be valid there
}

func (w *Worker) showCredential(r *http.Request) (any, error) {
	u, err := w.findUser(r)
	if err != nil {
		return nil, err
	}
	c, err := w.Credential(r.Context(), u.ID)
	if errors.Is(err, accounts.ErrNoCredential) {
		return ControlLogin{}, nil
	}
	if err != nil {
		return nil, err
	}
	login := loginOf(c)
	login.Given = w.given(u.ID)
	return login, nil
}

// given reports whether a process's variables say where a user's calendars are.
func (w *Worker) given(id string) bool {
	_, lent := w.loans.current()
	return id == accounts.Me && (lent || w.opts.Nextcloud != (accounts.Credential{}))
}

var errGiven = &refusal{status: http.StatusConflict, text: "there is no login: the Nextcloud is given by the NEXTCLOUD_ variables of a process, " +
	"and is used until that ends"}

func loginOf(c accounts.Credential) ControlLogin {
	return ControlLogin{Server: c.Server, Username: c.Username}
}

func (w *Worker) setCredential(r *http.Request) (any, error) {
	var body ControlCredential
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	if _, err := caldav.New(body.Server, &caldav.Options{InsecureHTTP: body.InsecureHTTP}); err != nil {
		return nil, fmt.Errorf("%w credential: %w", accounts.ErrInvalid, err)
	}
	u, err := w.findUser(r)
	if err != nil {
		return nil, err
	}
	c := accounts.Credential{Server: body.Server, Username: body.Username, Password: body.Password}
	was, err := w.accounts.ReplaceCredential(r.Context(), u.ID, c)
	if err != nil {
		return nil, err
	}
	w.credentialChanged(u.ID)
	out := shown([]accounts.User{u})[0]
	if was.Password != c.Password {
		out.Left = w.giveBackFormer(r.Context(), was, body.InsecureHTTP)
	}
	return out, nil
}

// deleteCredential makes the user's calendars those kept here, and the password void. The
// credential goes first: requests that went on with a void password would have Nextcloud
// ban this machine. So a crash in between leaves a password of which nobody knows here.
func (w *Worker) deleteCredential(r *http.Request) (any, error) {
	insecure, err := flag(r, "insecureHTTP")
	if err != nil {
		return nil, err
	}
	u, err := w.findUser(r)
	if err != nil {
		return nil, err
	}
	ctx := context.WithoutCancel(r.Context()) // there is no second copy of the password
	c, err := w.accounts.TakeCredential(ctx, u.ID)
	unreadable := errors.Is(err, accounts.ErrKey)
	if errors.Is(err, accounts.ErrNoCredential) && w.given(u.ID) {
		return nil, errGiven
	}
	if err != nil && !unreadable {
		return nil, err
	}
	w.credentialChanged(u.ID)
	out := ControlLogout{ControlLogin: loginOf(c)}
	if !unreadable {
		err = w.giveBack(ctx, c, insecure)
	}
	if err != nil {
		out.Left = err.Error()
	}
	return out, nil
}

// giveBackPatience is how long a Nextcloud may take to make a password void: a person waits.
const giveBackPatience = 15 * time.Second

// giveBack makes an app password void, at the Nextcloud that made it. One that is void already will do.
func (w *Worker) giveBack(ctx context.Context, c accounts.Credential, insecure bool) error {
	ctx, cancel := context.WithTimeout(ctx, giveBackPatience)
	defer cancel()
	opts := w.opts.CalDAV
	opts.InsecureHTTP = opts.InsecureHTTP || insecure
	opts.Credential = caldav.Credential{Username: c.Username, Password: c.Password}
	client, err := caldav.New(c.Server, &opts)
	if err != nil {
		return err
	}
	err = nextcloud.New(client, nextcloud.Root(client.Base())).RevokeAppPassword(ctx)
	if errors.Is(err, caldav.ErrUnauthorized) {
		return nil
	}
	return err
}

// giveBackFormer makes a password void that is no longer kept, and says why it may still be valid.
func (w *Worker) giveBackFormer(ctx context.Context, was accounts.Former, insecure bool) (left string) {
	err := was.Err
	if err == nil && was.Credential != (accounts.Credential{}) {
		err = w.giveBack(context.WithoutCancel(ctx), was.Credential, insecure)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// credentialChanged says that a user has other calendars from now on. Other processes find
// their copies to be of another account.
func (w *Worker) credentialChanged(id string) {
	if w.calendar != nil {
		w.calendar.Forget(id)
		w.news.add(written, calendar.Change{User: id, Calendars: true})
	}
}
