package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/caldav"
)

// readNextcloud reads where the single user's calendars are. All of it must be given, or
// nothing: half a configuration would quietly serve other calendars than those meant.
func (cfg *config) readNextcloud(insecure bool) error {
	cfg.caldav = cfg.caldavOptions(insecure)
	c := accounts.Credential{
		Server:   cfg.variable("NEXTCLOUD_BASE_URL"),
		Username: cfg.variable("NEXTCLOUD_USERNAME"),
		Password: cfg.variable("NEXTCLOUD_APP_TOKEN"),
	}
	var given, missing []string
	for _, v := range []struct{ name, value string }{
		{"NEXTCLOUD_BASE_URL", c.Server}, {"NEXTCLOUD_USERNAME", c.Username}, {"NEXTCLOUD_APP_TOKEN", c.Password},
	} {
		if v.value == "" {
			missing = append(missing, v.name)
		} else {
			given = append(given, v.name)
		}
	}
	switch {
	case len(given) == 0:
		return nil
	case len(missing) > 0:
		return fmt.Errorf("%s: not set, though %s is: set all three for a Nextcloud, or none for calendars on this server",
			strings.Join(missing, ", "), strings.Join(given, ", "))
	}
	if _, err := caldav.New(c.Server, &cfg.caldav); err != nil {
		return errors.New("NEXTCLOUD_BASE_URL: " + addressProblem(err))
	}
	cfg.nextcloud = c
	return nil
}

// caldavOptions are those of clients for servers elsewhere.
func (cfg *config) caldavOptions(insecure bool) caldav.Options {
	return caldav.Options{CAFile: cfg.variable("NEXTCLOUD_CA_FILE"), InsecureHTTP: insecure}
}

// addressProblem says what is wrong with a Nextcloud's address in a person's words, and
// which flag allows what is refused.
func addressProblem(err error) string {
	text := strings.TrimPrefix(err.Error(), "caldav: ")
	if errors.Is(err, caldav.ErrInsecureHTTP) {
		return text + "; --insecure-http allows it"
	}
	if rest, ok := strings.CutPrefix(text, "CA file"); ok {
		return "NEXTCLOUD_CA_FILE" + rest
	}
	return text
}
