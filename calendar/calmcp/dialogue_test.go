package calmcp_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/internal/golden"
)

// TestDialogues plays requests of MCP clients. An archive has the objects that are there
// at the start (USER/CALENDAR/NAME.ics), the requests, a line each, and what is answered.
// Ids that the server made are $1, $2 in the order in which they appear; sessions and
// entity tags have no names. Time is synctest's.
func TestDialogues(t *testing.T) {
	golden.Archives(t, func(t *testing.T, a *golden.Archive) {
		synctest.Test(t, func(t *testing.T) { playDialogue(t, a) })
	})
}

func playDialogue(t *testing.T, a *golden.Archive) {
	d := &dialogue{bed: newBed(t), user: "alice"}
	made := map[string]bool{}
	for _, f := range a.Files {
		parts := strings.Split(f.Name, "/")
		if len(parts) < 2 {
			continue // requests and answers
		}
		if cal := parts[0] + "/" + parts[1]; !made[cal] {
			d.mkcalendar(parts[0], parts[1])
			made[cal] = true
		}
		if len(parts) == 3 {
			d.put(parts[0], parts[1], parts[2], string(f.Data))
		}
	}
	requests, _ := a.Section("requests")
	var got strings.Builder
	for line := range strings.Lines(requests) {
		if line = strings.TrimSpace(line); line != "" {
			fmt.Fprintf(&got, "> %s\n%s", line, d.play(t, line))
		}
	}
	a.Want(t, "answers", got.String())
}

type dialogue struct {
	*bed
	user, session string
	ids           []string // that the server made
}

func (d *dialogue) play(t *testing.T, line string) string {
	word, rest, _ := strings.Cut(line, " ")
	for i, id := range d.ids {
		rest = strings.ReplaceAll(rest, fmt.Sprintf("$%d", i+1), id)
	}
	cl := d.connect(calmcp.Caller{User: d.user, Session: d.session})
	defer cl.Close()
	switch word {
	case "as":
		d.user, d.session, _ = strings.Cut(rest, " ")
		return ""
	case "zone":
		if _, err := d.settings.ChangeSettings(t.Context(), d.user, calendar.SettingsChange{TimeZone: calendar.To(rest)}); err != nil {
			t.Fatal(err)
		}
		d.svc.Forget(d.user)
		return ""
	case "schedules":
		d.set(func() { d.bed.schedules = true })
		return ""
	case "down":
		d.set(func() { d.bed.down = true })
		return ""
	case "stored":
		user, rest, _ := strings.Cut(rest, " ")
		return d.stored(user, rest)
	case "resources":
		res, err := cl.ListResources(t.Context(), nil)
		return d.shown(res, err)
	case "templates":
		res, err := cl.ListResourceTemplates(t.Context(), nil)
		return d.shown(res, err)
	case "prompts":
		res, err := cl.ListPrompts(t.Context(), nil)
		return d.shown(res, err)
	case "read":
		res, err := cl.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: rest})
		if err != nil {
			return d.shown(nil, err)
		}
		c := res.Contents[0]
		return d.name(fmt.Sprintf("%s %s %s %d\n%s\n", c.URI, c.MIMEType, res.CacheScope, res.TTLMs, c.Text))
	case "prompt":
		name, args, _ := strings.Cut(rest, " ")
		p := &mcp.GetPromptParams{Name: name}
		if args != "" {
			if err := json.Unmarshal([]byte(args), &p.Arguments); err != nil {
				t.Fatal(err)
			}
		}
		res, err := cl.GetPrompt(t.Context(), p)
		if err != nil {
			return d.shown(nil, err)
		}
		var out strings.Builder
		for _, m := range res.Messages {
			switch c := m.Content.(type) {
			case *mcp.TextContent:
				fmt.Fprintf(&out, "%s: %s\n", m.Role, c.Text)
			case *mcp.EmbeddedResource:
				fmt.Fprintf(&out, "%s: %s\n%s\n", m.Role, c.Resource.URI, c.Resource.Text)
			}
		}
		return d.name(out.String())
	case "complete":
		p := &mcp.CompleteParams{}
		if err := json.Unmarshal([]byte(rest), p); err != nil {
			t.Fatalf("%s: %v", rest, err)
		}
		res, err := cl.Complete(t.Context(), p)
		return d.shown(res, err)
	}
	text, failed, meta := cl.callMeta(word, rest)
	if failed {
		return d.name("error: " + text + "\n")
	}
	if count, ok := meta["calendarCount"]; ok {
		text += fmt.Sprintf("\n_meta.calendarCount %v", count)
	}
	if meta["sessionId"] != nil && !strings.Contains(text, fmt.Sprintf(`"sessionId": "%v"`, meta["sessionId"])) {
		t.Errorf("%s: _meta names session %v, not the answer's", line, meta["sessionId"])
	}
	return d.name(text + "\n")
}

func (d *dialogue) shown(v any, err error) string {
	if err != nil {
		return d.name("protocol error: " + err.Error() + "\n")
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		d.t.Fatal(err)
	}
	return d.name(string(text) + "\n")
}

var (
	etags   = regexp.MustCompile(`"etag": "\\"[0-9a-f]+\\""`)
	madeIDs = regexp.MustCompile(`"id": "([0-9a-f]{32}|[a-z0-9-]+-[0-9a-f]{12})"`)
	session = regexp.MustCompile(`"sessionId": "[0-9a-f]{32}"`)
)

// name replaces what differs from run to run.
func (d *dialogue) name(text string) string {
	for _, m := range madeIDs.FindAllStringSubmatch(text, -1) {
		known := false
		for _, id := range d.ids {
			known = known || id == m[1]
		}
		if !known {
			d.ids = append(d.ids, m[1])
		}
	}
	text = etags.ReplaceAllString(text, `"etag": "..."`)
	text = session.ReplaceAllString(text, `"sessionId": "..."`)
	for i, id := range d.ids {
		text = strings.ReplaceAll(text, id, fmt.Sprintf("$%d", i+1))
	}
	return text
}
