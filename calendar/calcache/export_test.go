package calcache

// EntryKey returns the key under which the events of a user's calendar are stored.
func EntryKey(user, calendar string) string { return entryKey(user, events, calendar) }

// OtherKeys returns the keys of what else is stored of a user.
func OtherKeys(user string) []string {
	return []string{entryKey(user, calendars, ""), entryKey(user, preferences, "")}
}

// UserPrefix returns the prefix of all of a user's keys.
var UserPrefix = userPrefix
