package worker

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/accounts"
)

// Settings returns the store that keeps users' settings in their objects.
func (w *Worker) Settings() calendar.SettingsStore { return settingsStore{w.accounts} }

type settingsStore struct{ accounts *accounts.Accounts }

// LoadSettings implements [calendar.SettingsStore].
func (s settingsStore) LoadSettings(ctx context.Context, user string) (calendar.Settings, error) {
	data, err := s.accounts.Settings(ctx, user)
	if err != nil {
		return calendar.Settings{}, err
	}
	return parseSettings(data)
}

// ChangeSettings implements [calendar.SettingsStore].
func (s settingsStore) ChangeSettings(ctx context.Context, user string, c calendar.SettingsChange) (calendar.Settings, error) {
	var next calendar.Settings
	_, err := s.accounts.ChangeSettings(ctx, user, func(old []byte) ([]byte, error) {
		now, err := parseSettings(old)
		if err != nil {
			return nil, err
		}
		next = now.Apply(c)
		return json.Marshal(next)
	})
	return next, err
}

func parseSettings(data []byte) (s calendar.Settings, err error) {
	if data == nil {
		return s, nil
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("stored settings: %w", err)
	}
	return s, nil
}
