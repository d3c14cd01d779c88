package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/accounts"
)

// ControlUser is a user as [Worker.Control] shows one.
type ControlUser struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Added   time.Time `json:"added,omitzero"`
	Removed time.Time `json:"removed,omitzero"` // of one whose data is still here
	Token   string    `json:"token,omitempty"`  // in the answer to adding one, and never again
	Left    string    `json:"left,omitempty"`   // why a password that is no longer kept may still be valid at its server
}

// ControlPage is how many users a list holds at most. A shorter one is the last.
const ControlPage = 100

// Control returns the handler by which the program's other commands work on the same
// data, in this process or through a socket. It asks nobody who they are: whoever
// reaches it is the owner.
//
//	GET    /users?after=NAME         users, in the order of names
//	POST   /users                    {"name": …}; the answer holds the token
//	GET    /users/{name or id}
//	DELETE /users/{name or id}       ?purge=true deletes the data as well
//	GET    /users/{name or id}/settings
//	PATCH  /users/{name or id}/settings     a [calendar.SettingsChange]; the answer is what it led to
//	GET    /users/{name or id}/credential   a [ControlLogin]
//	PUT    /users/{name or id}/credential   a [ControlCredential]
//	DELETE /users/{name or id}/credential   ?insecureHTTP=true, as when it was put; the answer is a [ControlLogout]
//	       /users/{name or id}/mcp   MCP as that user, by any method
//	PUT    /users/me/loan            a credential, for as long as the request lasts
//	GET    /removed?name=&id=        removed users with data, after the one named
//
// Answers are JSON; errors are {"error": text for a person}.
func (w *Worker) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users", w.control(w.listUsers))
	mux.HandleFunc("POST /users", w.control(w.addUser))
	mux.HandleFunc("GET /users/{name}", w.control(w.showUser))
	mux.HandleFunc("DELETE /users/{name}", w.control(w.deleteUser))
	mux.HandleFunc("GET /users/{name}/settings", w.control(w.showSettings))
	mux.HandleFunc("PATCH /users/{name}/settings", w.control(w.changeSettings))
	mux.HandleFunc("GET /users/{name}/credential", w.control(w.showCredential))
	mux.HandleFunc("PUT /users/{name}/credential", w.control(w.setCredential))
	mux.HandleFunc("DELETE /users/{name}/credential", w.control(w.deleteCredential))
	mux.HandleFunc("/users/{name}/mcp", w.controlMCP)
	mux.HandleFunc("PUT /users/me/loan", w.controlLoan)
	mux.HandleFunc("GET /removed", w.control(w.listRemoved))
	return mux
}

// maxControlBody bounds a request's body.
const maxControlBody = 64 << 10

func (w *Worker) control(serve func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(rw, r.Body, maxControlBody)
		v, err := serve(r)
		if err != nil {
			status, text := controlProblem(err)
			fail(rw, status, text)
			return
		}
		writeJSON(rw, http.StatusOK, v)
	}
}

// controlProblem says what is wrong to the owner of the data, who may know.
func controlProblem(err error) (status int, text string) {
	text = strings.TrimPrefix(err.Error(), "accounts: ")
	switch {
	case errors.Is(err, accounts.ErrNoUser):
		return http.StatusNotFound, "there is no such user"
	case errors.Is(err, errNoCalendar):
		return http.StatusConflict, "which calendars there are is not known before a server has run on this data: start perdure serve, or a client of perdure stdio, once"
	case errors.Is(err, accounts.ErrNoCredential):
		return http.StatusNotFound, "the user is not logged in to a Nextcloud"
	case errors.Is(err, accounts.ErrNameTaken):
		return http.StatusConflict, "the name is taken"
	case errors.Is(err, accounts.ErrAmbiguous):
		return http.StatusConflict, "several removed users had this name: give the id, which the list shows"
	case errors.Is(err, accounts.ErrInvalidName), errors.Is(err, accounts.ErrInvalid):
		return http.StatusBadRequest, text
	}
	if answer, ours := problem(err); !ours {
		return answer.status, answer.text
	}
	return http.StatusInternalServerError, text
}

func decodeBody(r *http.Request, v any) error {
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		return fmt.Errorf("%w request: not the JSON expected", accounts.ErrInvalid) // the text may hold a secret
	}
	return nil
}

// flag returns a parameter that is true or false, and false if it is left out.
func flag(r *http.Request, name string) (bool, error) {
	switch r.URL.Query().Get(name) {
	case "true":
		return true, nil
	case "false", "":
		return false, nil
	}
	return false, fmt.Errorf("%w request: %s must be true or false", accounts.ErrInvalid, name)
}

func shown(users []accounts.User) []ControlUser {
	out := make([]ControlUser, len(users))
	for i, u := range users {
		out[i] = ControlUser{ID: u.ID, Name: u.Name, Added: u.Added, Removed: u.Removed}
	}
	return out
}

func (w *Worker) listUsers(r *http.Request) (any, error) {
	all, err := w.accounts.List(r.Context(), r.URL.Query().Get("after"), ControlPage)
	return shown(all), err
}

func (w *Worker) listRemoved(r *http.Request) (any, error) {
	after := accounts.User{Name: r.URL.Query().Get("name"), ID: r.URL.Query().Get("id")}
	all, err := w.accounts.ListRemoved(r.Context(), after, ControlPage)
	return shown(all), err
}

func (w *Worker) addUser(r *http.Request) (any, error) {
	var body struct{ Name string }
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	u, token, err := w.accounts.Add(r.Context(), body.Name)
	if err != nil {
		return nil, err
	}
	// The single user is none any more: see enterMe.
	if err := w.expel(r.Context(), accounts.Me); err != nil {
		w.log.LogAttrs(r.Context(), slog.LevelWarn, "requests of before the first user have not ended yet", slog.Any("error", err))
	}
	// The user is there, and the token can't be shown twice: what is missing are samples.
	if err := w.dav.Seed(r.Context(), davUser(u)); err != nil {
		w.log.LogAttrs(r.Context(), slog.LevelError, "the new user has no first calendars", slog.String("user", u.ID), slog.Any("error", err))
	}
	if strings.Contains(u.Name, "@") {
		change := calendar.SettingsChange{Addresses: calendar.To([]string{u.Name})}
		if err := change.Check(); err == nil {
			if _, err := w.Settings().ChangeSettings(r.Context(), u.ID, change); err != nil {
				w.log.LogAttrs(r.Context(), slog.LevelError, "the new user's name is not set as a mail address", slog.String("user", u.ID), slog.Any("error", err))
			}
		}
	}
	out := shown([]accounts.User{u})[0]
	out.Token = token
	return out, nil
}

// findUser returns the user that the path names; the single user is one.
func (w *Worker) findUser(r *http.Request) (accounts.User, error) {
	name := r.PathValue("name")
	if name == accounts.Me {
		return me, nil
	}
	return w.accounts.Find(r.Context(), name)
}

func (w *Worker) showUser(r *http.Request) (any, error) {
	u, err := w.findUser(r)
	return shown([]accounts.User{u})[0], err
}

func (w *Worker) deleteUser(r *http.Request) (any, error) {
	purge, err := flag(r, "purge")
	if err != nil {
		return nil, err
	}
	u, left, err := w.removeUser(r.Context(), r.PathValue("name"), purge)
	out := shown([]accounts.User{u})[0]
	out.Left = left
	return out, err
}

func (w *Worker) showSettings(r *http.Request) (any, error) {
	u, err := w.findUser(r)
	if err != nil {
		return nil, err
	}
	return w.Settings().LoadSettings(r.Context(), u.ID)
}

// changeSettings works in data that holds no calendars yet, too.
func (w *Worker) changeSettings(r *http.Request) (any, error) {
	var change calendar.SettingsChange
	if err := decodeBody(r, &change); err != nil {
		return nil, err
	}
	u, err := w.findUser(r)
	if err != nil {
		return nil, err
	}
	if w.calendar != nil {
		return w.calendar.User(u.ID).ChangeSettings(r.Context(), change)
	}
	if change.DefaultCalendar.Set || change.HiddenCalendars.Set {
		return nil, errNoCalendar
	}
	if err := change.Check(); err != nil {
		return nil, err
	}
	return w.Settings().ChangeSettings(r.Context(), u.ID, change)
}
