package calendar

import (
	"cmp"
	"fmt"
	"net/mail"
	"regexp"
	"slices"
	"strings"

	"github.com/perdure/perdure/calendar/ical"
)

// What a field may hold. Errors name the field, what was wrong, and what to send.

const (
	maxTitle = 1000
	maxText  = 64 << 10
	maxItems = 500
)

var (
	statuses       = []string{"confirmed", "tentative", "cancelled"}
	visibilities   = []string{"public", "private", "confidential"}
	availabilities = []string{"free", "busy"}
	answers        = []string{"accepted", "declined", "tentative", "needs-action"}
	roles          = []string{"required", "optional"}
	kinds          = []string{"individual", "group", "resource", "room"}
	reminderTypes  = []string{"email", "notification"}
	frequencies    = []string{"daily", "weekly", "monthly", "yearly"}

	adhdCategories = []string{"focus", "routine", "important", "urgent", "long-term", "quick-task",
		"high-energy", "low-energy", "personal", "work"}
	adhdPattern = regexp.MustCompile(`^[a-zA-Z0-9\s\-_]{1,30}$`)
)

// check validates what does not depend on the event that is changed, and brings
// words into lower case. What stands in one of the known events already may be sent back,
// whatever it is: other programs write what nobody would be allowed to write here.
func (c *EventChange) check(known ...*Event) error {
	if c.Title.Set && strings.TrimSpace(c.Title.Value) == "" {
		return invalid("title", "an event needs a title; send some text, for example %q.", "Dentist")
	}
	for _, f := range []struct {
		name string
		opt  *Opt[string]
		max  int
		of   func(*Event) string
	}{
		{"title", &c.Title, maxTitle, func(e *Event) string { return e.Title }},
		{"description", &c.Description, maxText, func(e *Event) string { return e.Description }},
		{"location", &c.Location, maxTitle, func(e *Event) string { return e.Location }},
	} {
		if err := checkLength(f.name, f.opt.Value, f.max); err != nil {
			return err
		}
		if slices.ContainsFunc(known, func(e *Event) bool { return f.of(e) == f.opt.Value }) {
			continue
		}
		if err := checkCharacters(f.name, f.opt.Value); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name  string
		opt   *Opt[string]
		words []string
	}{
		{"status", &c.Status, statuses}, {"visibility", &c.Visibility, visibilities}, {"availability", &c.Availability, availabilities},
	} {
		if err := checkWord(f.name, &f.opt.Value, f.words); err != nil {
			return err
		}
	}
	if err := checkColor(&c.Color.Value); err != nil {
		return err
	}
	if err := cmp.Or(checkADHDCategory("adhdCategory", c.ADHDCategory.Value), checkCharacters("adhdCategory", c.ADHDCategory.Value)); err != nil {
		return err
	}
	if err := checkNumber("focusPriority", c.Focus.Value, 10); err != nil {
		return err
	}
	if err := checkNumber("energyLevel", c.Energy.Value, 5); err != nil {
		return err
	}
	if err := checkList("categories", c.Categories.Value, known, func(e *Event) []string { return e.Categories }); err != nil {
		return err
	}
	if err := checkList("relatedTasks", c.RelatedTasks.Value, known, func(e *Event) []string { return e.RelatedTasks }); err != nil {
		return err
	}
	if err := checkParticipants(c.Participants.Value, known); err != nil {
		return err
	}
	if err := checkReminders(c.Reminders.Value, known); err != nil {
		return err
	}
	if r := c.Recurrence.Value; r != nil && !slices.ContainsFunc(known, func(e *Event) bool { return r.sameRule(e.Recurrence) }) {
		return c.Recurrence.Value.check()
	}
	return nil
}

func checkLength(field, s string, limit int) error {
	if len(s) > limit {
		return invalid(field, "%d bytes are too long; send at most %d.", len(s), limit)
	}
	return nil
}

// checkCharacters refuses what iCalendar and XML have no place for, and writing would leave
// out: control characters but for tabs and line breaks.
func checkCharacters(field, s string) error {
	for i, r := range s {
		switch {
		case r == '\t', r == '\n', r == '\r' && strings.HasPrefix(s[i:], "\r\n"):
		case r < ' ', r == 0x7f, r == 0xfffe, r == 0xffff:
			return invalid(field, "the character %U can't be stored; send the text without it. Tabs and line breaks may stay.", r)
		}
	}
	return nil
}

// checkWord allows one of some words, in any case, and "".
func checkWord(field string, s *string, words []string) error {
	if *s == "" {
		return nil
	}
	word := strings.ToLower(strings.TrimSpace(*s))
	if !slices.Contains(words, word) {
		return invalid(field, "%q is not one of %s; send for example %q.", clip(*s, 60), strings.Join(words, ", "), words[0])
	}
	*s = word
	return nil
}

func checkNumber(field string, n, limit int) error {
	if n < 0 || n > limit {
		return invalid(field, "%d is out of range; send a whole number from 1 to %d, for example %d.", n, limit, (limit+1)/2)
	}
	return nil
}

func checkADHDCategory(field, s string) error {
	if s == "" || slices.Contains(adhdCategories, s) || adhdPattern.MatchString(s) {
		return nil
	}
	return invalid(field, "%q is neither one of %s nor a name of at most 30 letters, digits, spaces, - and _; send for example %q.",
		clip(s, 60), strings.Join(adhdCategories, ", "), "focus")
}

func checkList(field string, list []string, known []*Event, of func(*Event) []string) error {
	if len(list) > maxItems {
		return invalid(field, "%d entries are too many; send at most %d.", len(list), maxItems)
	}
	for i, s := range list {
		if strings.TrimSpace(s) == "" {
			return invalid(field, "an entry is empty; leave it out, or send [] to clear the list.")
		}
		if err := checkLength(field, s, maxTitle); err != nil {
			return err
		}
		if slices.ContainsFunc(known, func(e *Event) bool { return slices.Contains(of(e), s) }) {
			continue
		}
		if err := checkCharacters(fmt.Sprintf("%s[%d]", field, i), s); err != nil {
			return err
		}
	}
	return nil
}

// checkAddress validates a mail address, and removes spaces around it.
func checkAddress(field string, address *string) error {
	*address = strings.TrimSpace(*address)
	a, err := mail.ParseAddress(*address)
	if err != nil || a.Address != *address {
		return invalid(field, "%q is not an e-mail address; send one like anna@example.org.", clip(*address, 80))
	}
	return nil
}

// Limits of a user's own addresses.
const (
	maxAddresses = 20
	maxAddress   = 254 // RFC 5321, section 4.5.3.1.3
)

// checkAddresses validates a user's own mail addresses and returns them once each, as
// addressKey has them.
func checkAddresses(list []string) ([]string, error) {
	if len(list) > maxAddresses {
		return nil, invalid("addresses", "%d are too many; send at most %d.", len(list), maxAddresses)
	}
	var out []string
	for i, address := range list {
		field := fmt.Sprintf("addresses[%d]", i)
		address = addressKey(address)
		if err := cmp.Or(checkLength(field, address, maxAddress), checkAddress(field, &address)); err != nil {
			return nil, err
		}
		if !slices.Contains(out, address) {
			out = append(out, address)
		}
	}
	return out, nil
}

func checkParticipants(list []Participant, known []*Event) error {
	if len(list) > maxItems && !slices.ContainsFunc(known, func(e *Event) bool { return len(list) <= len(e.Participants) }) {
		return invalid("participants", "%d are too many; send at most %d.", len(list), maxItems)
	}
	seen := make(map[string]bool)
	for i := range list {
		p := &list[i]
		if slices.ContainsFunc(known, func(e *Event) bool { return slices.Contains(e.Participants, *p) }) {
			continue
		}
		field := fmt.Sprintf("participants[%d]", i)
		if err := checkAddress(field+".email", &p.Email); err != nil {
			return err
		}
		if seen[addressKey(p.Email)] {
			return invalid(field+".email", "%q is in the list twice; send each address once.", clip(p.Email, 80))
		}
		seen[addressKey(p.Email)] = true
		if err := checkLength(field+".name", p.Name, maxTitle); err != nil {
			return err
		}
		named := func(other Participant) bool { return other.Name == p.Name }
		if !slices.ContainsFunc(known, func(e *Event) bool { return slices.ContainsFunc(e.Participants, named) }) {
			if err := checkCharacters(field+".name", p.Name); err != nil {
				return err
			}
		}
		if err := checkWord(field+".status", &p.Status, answers); err != nil {
			return err
		}
		if err := checkWord(field+".role", &p.Role, roles); err != nil {
			return err
		}
		if err := checkWord(field+".type", &p.Type, kinds); err != nil {
			return err
		}
	}
	return nil
}

func checkReminders(list []Reminder, known []*Event) error {
	if len(list) > 50 && !slices.ContainsFunc(known, func(e *Event) bool { return len(list) <= len(e.Reminders) }) {
		return invalid("reminders", "%d are too many; send at most 50.", len(list))
	}
	for i := range list {
		if slices.ContainsFunc(known, func(e *Event) bool { return slices.Contains(e.Reminders, list[i]) }) {
			continue
		}
		field := fmt.Sprintf("reminders[%d]", i)
		if list[i].Type == "" {
			list[i].Type = "notification"
		}
		if err := checkWord(field+".type", &list[i].Type, reminderTypes); err != nil {
			return err
		}
		if m := list[i].MinutesBefore; m < 0 || m > 366*24*60 {
			return invalid(field+".minutesBefore", "%d is out of range; send minutes before the start, for example 15.", m)
		}
	}
	return nil
}

func (r *Recurrence) check() error {
	const field = "recurrenceRule"
	if r.Frequency == "" {
		return invalid(field+".frequency", `it is missing; send one of %s, for example {"frequency":"weekly","byDay":["MO"]}.`, strings.Join(frequencies, ", "))
	}
	if err := checkWord(field+".frequency", &r.Frequency, frequencies); err != nil {
		return err
	}
	switch {
	case r.Interval < 0 || r.Interval > 1000:
		return invalid(field+".interval", "%d is out of range; send a whole number from 1 to 1000, for example 2.", r.Interval)
	case r.Count < 0 || r.Count > 100_000:
		return invalid(field+".count", "%d is out of range; send a whole number from 1 to 100000, for example 10.", r.Count)
	case r.Count > 0 && r.Until != "":
		return invalid(field, "count and until exclude each other; send one of them.")
	}
	for i, d := range r.ByDay {
		d = strings.ToUpper(strings.TrimSpace(d))
		if _, err := ical.ParseRule("FREQ=YEARLY;BYDAY=" + d); err != nil || strings.Contains(d, ",") || strings.Contains(d, ";") {
			return invalid(field+".byDay", "%q is no weekday; send MO, TU, WE, TH, FR, SA or SU, with a number for monthly and yearly rules, for example 2TU or -1FR.", clip(r.ByDay[i], 20))
		}
		if len(d) > 2 && (r.Frequency == "weekly" || r.Frequency == "daily") {
			return invalid(field+".byDay", "%q has a number, which only monthly and yearly rules may have; send %q.", d, d[len(d)-2:])
		}
		r.ByDay[i] = d
	}
	for _, l := range []struct {
		name   string
		list   []int
		lo, hi int
		help   string
	}{
		{"byMonthDay", r.ByMonthDay, -31, 31, "days from 1 to 31, or from -31 to -1 counted from the month's end"},
		{"byMonth", r.ByMonth, 1, 12, "months from 1 to 12"},
		{"bySetPos", r.BySetPos, -366, 366, "positions such as 1 or -1"},
	} {
		for _, n := range l.list {
			if n < l.lo || n > l.hi || n == 0 {
				return invalid(field+"."+l.name, "%d is out of range; send %s.", n, l.help)
			}
		}
	}
	if len(r.ByMonthDay) > 0 && r.Frequency == "weekly" {
		return invalid(field+".byMonthDay", "a weekly rule can't have it; send byDay, or the frequency monthly.")
	}
	if len(r.BySetPos) > 0 && len(r.ByDay)+len(r.ByMonthDay)+len(r.ByMonth) == 0 {
		return invalid(field+".bySetPos", "it selects among other parts; send byDay, byMonthDay or byMonth with it.")
	}
	return nil
}
