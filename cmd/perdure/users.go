package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/worker"
)

type usersCmd struct {
	Add    usersAddCmd    `cmd:"" help:"Add a user and print the secret, which is shown this once."`
	List   usersListCmd   `cmd:"" help:"List users, and removed ones whose data is still here."`
	Show   usersShowCmd   `cmd:"" help:"Show a user's settings, and where the user is logged in."`
	Set    usersSetCmd    `cmd:"" help:"Change a user's settings, and show them."`
	Remove usersRemoveCmd `cmd:"" help:"End a user's access at once."`
}

type usersAddCmd struct {
	dataFlags
	Name string `arg:"" help:"1 to 64 of a-z, 0-9 and . _ @ -"`
}

// Run prints the secret alone on standard output.
func (c *usersAddCmd) Run(env *environment) error {
	if err := c.announce(env); err != nil {
		return err
	}
	return c.withControl(env, func(ctx context.Context, control *controlClient) error {
		var u worker.ControlUser
		if err := control.call(ctx, http.MethodPost, "/users", map[string]string{"name": c.Name}, &u); err != nil {
			return fmt.Errorf("add user %q: %w", c.Name, err)
		}
		fmt.Fprintln(env.stdout, u.Token)
		fmt.Fprintf(env.stderr, "User %s is added. The one line on standard output is the secret: it is not shown again.\n", u.Name)
		return nil
	})
}

type usersListCmd struct{ dataFlags }

func (c *usersListCmd) Run(env *environment) error {
	if err := c.mustExist(env); err != nil {
		return err
	}
	return c.withControl(env, func(ctx context.Context, control *controlClient) error {
		out := tabwriter.NewWriter(env.stdout, 0, 8, 2, ' ', 0)
		n := 0
		next := func(u worker.ControlUser) string { return "/users?after=" + url.QueryEscape(u.Name) }
		err := control.each(ctx, "/users", next, func(u worker.ControlUser) {
			n++
			fmt.Fprintf(out, "%s\t%s\tadded %s\n", u.Name, u.ID, u.Added.Local().Format(listTime))
		})
		if err != nil {
			return fmt.Errorf("list users: %w", err)
		}
		next = func(u worker.ControlUser) string {
			return "/removed?" + url.Values{"name": {u.Name}, "id": {u.ID}}.Encode()
		}
		err = control.each(ctx, "/removed", next, func(u worker.ControlUser) {
			fmt.Fprintf(out, "%s\t%s\tremoved %s, data kept\n", u.Name, u.ID, u.Removed.Local().Format(listTime))
		})
		if err != nil {
			return fmt.Errorf("list users: %w", err)
		}
		if n == 0 { // for people: an empty list is the answer to programs
			fmt.Fprintf(env.stderr, "There are no users. Until there are, %s is the single one.\n", accounts.Me)
		}
		return out.Flush()
	})
}

// listTime is how lists show times, which are local ones.
const listTime = "2006-01-02 15:04:05 -07:00"

// each goes through a list in pages.
func (c *controlClient) each(ctx context.Context, path string, next func(last worker.ControlUser) string, show func(worker.ControlUser)) error {
	for {
		var page []worker.ControlUser
		if err := c.call(ctx, http.MethodGet, path, nil, &page); err != nil {
			return err
		}
		for _, u := range page {
			show(u)
		}
		if len(page) < worker.ControlPage {
			return nil
		}
		path = next(page[len(page)-1])
	}
}

type usersShowCmd struct {
	dataFlags
	Name string `arg:"" help:"Name or id; me is the single user's."`
}

func (c *usersShowCmd) Run(env *environment) error {
	if err := c.mustExist(env); err != nil {
		return err
	}
	return c.withControl(env, func(ctx context.Context, control *controlClient) error {
		var s calendar.Settings
		if err := control.call(ctx, http.MethodGet, settingsPath(c.Name), nil, &s); err != nil {
			return fmt.Errorf("show user %q: %w", c.Name, err)
		}
		var l worker.ControlLogin
		login := ""
		if err := control.call(ctx, http.MethodGet, credentialPath(c.Name), nil, &l); err != nil {
			login = "not known: " + err.Error() // the key is missing, for instance
		} else {
			login = describe(l)
		}
		return showSettings(env.stdout, s, setting{"login", login})
	})
}

func settingsPath(user string) string { return "/users/" + url.PathEscape(user) + "/settings" }

type setting struct{ name, value string }

// showSettings prints what usersSetCmd can change, in its words, and more.
func showSettings(w io.Writer, s calendar.Settings, more ...setting) error {
	out := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, line := range append([]setting{
		{"address", strings.Join(s.Addresses, ", ")},
		{"time-zone", s.TimeZone},
		{"default-calendar", s.DefaultCalendar},
		{"hide", strings.Join(s.HiddenCalendars, ", ")},
	}, more...) {
		fmt.Fprintf(out, "%s\t%s\n", line.name, cmp.Or(line.value, "-"))
	}
	return out.Flush()
}

type usersSetCmd struct {
	dataFlags
	Name            string   `arg:"" help:"Name or id; me is the single user's."`
	Address         []string `help:"The user's own mail addresses, separated by commas, besides those that the calendar server tells. Meetings of other organizers can't be changed." placeholder:"MAIL"`
	TimeZone        *string  `help:"In which times without an offset are read, such as Europe/Vienna." placeholder:"ZONE"`
	DefaultCalendar *string  `help:"Where new events go if no calendar is named." placeholder:"ID"`
	Hide            []string `help:"Calendars that are left out where none is named, separated by commas." placeholder:"ID"`
}

// Run takes "" as a value that clears a setting.
func (c *usersSetCmd) Run(env *environment) error {
	var change calendar.SettingsChange
	for _, text := range []struct {
		given *string
		opt   *calendar.Opt[string]
	}{{c.TimeZone, &change.TimeZone}, {c.DefaultCalendar, &change.DefaultCalendar}} {
		if text.given != nil {
			*text.opt = calendar.To(*text.given)
		}
	}
	for _, list := range []struct {
		given []string
		opt   *calendar.Opt[[]string]
	}{{c.Address, &change.Addresses}, {c.Hide, &change.HiddenCalendars}} {
		if list.given != nil {
			*list.opt = calendar.To(slices.DeleteFunc(list.given, func(s string) bool { return s == "" }))
		}
	}
	if change.TimeZone.Set || change.DefaultCalendar.Set || change.Addresses.Set || change.HiddenCalendars.Set {
		return c.change(env, change)
	}
	return usageError("users set: nothing to change: give --address, --time-zone, --default-calendar or --hide")
}

func (c *usersSetCmd) change(env *environment, change calendar.SettingsChange) error {
	if c.Name != accounts.Me {
		if err := c.mustExist(env); err != nil {
			return err
		}
	}
	if err := c.announce(env); err != nil {
		return err
	}
	return c.withControl(env, func(ctx context.Context, control *controlClient) error {
		var s calendar.Settings
		if err := control.call(ctx, http.MethodPatch, settingsPath(c.Name), change, &s); err != nil {
			return fmt.Errorf("set user %q: %w", c.Name, inFlags(err))
		}
		return showSettings(env.stdout, s)
	})
}

// settingFlags are the flags that set what the calendars' checks know by another name.
var settingFlags = map[string]string{
	"timeZone": "--time-zone", "addresses": "--address", "defaultCalendar": "--default-calendar", "hiddenCalendars": "--hide",
}

// inFlags says what is wrong with a setting by the flag that set it.
func inFlags(err error) error {
	var why *controlError
	if !errors.As(err, &why) {
		return err
	}
	field, rest, found := strings.Cut(why.text, ": ")
	field, _, _ = strings.Cut(field, "[") // of which of several the value tells
	if flag := settingFlags[field]; found && flag != "" {
		return &controlError{why.status, flag + ": " + rest}
	}
	return err
}

type usersRemoveCmd struct {
	dataFlags
	Name  string `arg:"" help:"Name or id."`
	Purge bool   `help:"Delete the user's data, too."`
}

func (c *usersRemoveCmd) Run(env *environment) error {
	if err := c.mustExist(env); err != nil {
		return err
	}
	if err := c.announce(env); err != nil {
		return err
	}
	return c.withControl(env, func(ctx context.Context, control *controlClient) error {
		path := "/users/" + url.PathEscape(c.Name)
		if c.Purge {
			path += "?purge=true"
		}
		var u worker.ControlUser
		if err := control.call(ctx, http.MethodDelete, path, nil, &u); err != nil {
			return fmt.Errorf("remove user %q: %w", c.Name, err)
		}
		tellLeft(env, "user's app password", u.Left)
		if c.Purge {
			fmt.Fprintf(env.stdout, "User %s is removed, with all data.\n", u.Name)
		} else {
			fmt.Fprintf(env.stdout, "User %s is removed. The data is kept; to delete it: %s\n", u.Name, c.command("users remove "+u.ID+" --purge"))
		}
		return nil
	})
}
