package eventstore_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// lines returns the captured lines of a level with a text.
func lines(
	log *watermill.CaptureLoggerAdapter, level watermill.LogLevel, text string,
) (found []watermill.CapturedMessage) {
	for _, line := range log.Captured()[level] {
		if line.Msg == text {
			found = append(found, line)
		}
	}
	return found
}

// subscribeLogged subscribes to the topic with a capturing logger.
func subscribeLogged(t *testing.T, cfg eventstore.SubscriberConfig) (*watermill.CaptureLoggerAdapter, error) {
	t.Helper()
	log := watermill.NewCaptureLogger()
	cfg.ConsumerGroup = "g"
	sub, err := eventstore.NewSubscriber(cfg, log)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, sub.Close()) })
	_, err = sub.Subscribe(timeout(t), "topic")
	return log, err
}

// oldSettings are the settings of groups before DefaultGroupSettings had no timeout, without ResolveLinks.
func oldSettings() esclient.PersistentSettings {
	s := esclient.DefaultPersistentSettings()
	s.StartFrom = 0
	return s
}

const (
	textDiffers    = "Consumer group has other settings"
	textAttention  = textDiffers + ": see SubscriberConfig.GroupPolicy"
	textUnreadable = "Settings of the consumer group cannot be read"
)

func TestGroupKeepLogsTheDifferentSettings(t *testing.T) {
	for _, persona := range personas {
		srv := embedded(t, estest.WithPersona(persona))
		c := openClient(t, srv.ConnectionString())
		require.NoError(t, c.CreatePersistent(timeout(t), "topic", "g", oldSettings()))
		log, err := subscribeLogged(t, eventstore.SubscriberConfig{Client: c, ResolveLinks: true})
		require.NoError(t, err)
		told := lines(log, watermill.ErrorLogLevel, textAttention)
		require.Len(t, told, 1)
		var differ *eventstore.GroupSettingsError
		require.ErrorAs(t, told[0].Err, &differ)
		assert.Equal(t, []eventstore.SettingDifference{
			{Setting: "ResolveLinks", Group: "false", Asked: "true"},
			{Setting: "MessageTimeout", Group: "30s", Asked: "never"},
			{Setting: "MaxRetryCount", Group: "10", Asked: "unlimited"},
		}, differ.Differences)
		kept, err := c.GroupSettings(timeout(t), "topic", "g")
		require.NoError(t, err)
		assert.Equal(t, oldSettings(), kept)
		assert.Equal(t, 1, groupStats(t, srv).Clients)
	}
}

func TestDifferencesThatHarmNoMessageAreANote(t *testing.T) {
	srv := embedded(t)
	c := openClient(t, srv.ConnectionString())
	settings := eventstore.DefaultGroupSettings()
	settings.StartFrom = 5 // it has no meaning any more
	settings.BufferSize, settings.Strategy = 100, esclient.Pinned
	require.NoError(t, c.CreatePersistent(timeout(t), "topic", "g", settings))
	log, err := subscribeLogged(t, eventstore.SubscriberConfig{Client: c})
	require.NoError(t, err)
	assert.Empty(t, log.Captured()[watermill.ErrorLogLevel])
	told := lines(log, watermill.InfoLogLevel, textDiffers)
	require.Len(t, told, 1)
	assert.Equal(t, "BufferSize is 100 instead of 500, Strategy is Pinned instead of RoundRobin",
		told[0].Fields["differences"])
}

func TestAGroupAsAskedForIsNoNews(t *testing.T) {
	srv := embedded(t)
	c := openClient(t, srv.ConnectionString())
	settings := eventstore.DefaultGroupSettings()
	settings.Strategy = "" // stands for RoundRobin
	for range 2 {          // it is made, and then it is there
		log, err := subscribeLogged(t, eventstore.SubscriberConfig{Client: c, GroupSettings: &settings})
		require.NoError(t, err)
		assert.Empty(t, lines(log, watermill.InfoLogLevel, textDiffers))
		assert.Empty(t, log.Captured()[watermill.ErrorLogLevel])
		assert.Empty(t, lines(log, watermill.DebugLogLevel, textUnreadable))
	}
}

func TestAGroupIsUpdatedOnRequest(t *testing.T) {
	for _, persona := range personas {
		srv := embedded(t, estest.WithPersona(persona))
		c := openClient(t, srv.ConnectionString())
		before := oldSettings()
		before.StartFrom = 3
		require.NoError(t, c.CreatePersistent(timeout(t), "topic", "g", before))
		old := newSubscriber(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g"})
		messages := subscribe(t, old, "topic")
		cfg := eventstore.SubscriberConfig{Client: c, GroupPolicy: eventstore.GroupUpdate}
		log, err := subscribeLogged(t, cfg)
		require.NoError(t, err)
		assert.Empty(t, log.Captured()[watermill.ErrorLogLevel])
		assert.Len(t, lines(log, watermill.InfoLogLevel, "Consumer group updated"), 1)
		want := eventstore.DefaultGroupSettings()
		want.StartFrom = 3
		got, err := c.GroupSettings(timeout(t), "topic", "g")
		require.NoError(t, err)
		assert.Equal(t, want, got)

		// The subscription that the server dropped resumes, and keeps the group as it is.
		require.Eventually(t, func() bool { return groupStats(t, srv).Clients == 2 }, patience, time.Millisecond)
		changes := groupChanges(t, c)
		log, err = subscribeLogged(t, cfg)
		require.NoError(t, err)
		assert.Empty(t, lines(log, watermill.InfoLogLevel, "Consumer group updated"))
		assert.Equal(t, changes, groupChanges(t, c))
		require.NoError(t, old.Close())
		for range messages {
			assert.Fail(t, "there was none")
		}
	}
}

// groupChanges counts the changes of groups in the stream of the server's configuration.
func groupChanges(t testing.TB, c *esclient.Client) int64 {
	t.Helper()
	e, err := c.ReadEvent(timeout(t), "$persistentSubscriptionConfig", esclient.LastEvent, esclient.ReadEventOptions{})
	require.NoError(t, err)
	return e.Number
}

func TestAGroupWithOtherSettingsIsRefusedOnRequest(t *testing.T) {
	srv := embedded(t)
	c := openClient(t, srv.ConnectionString())
	require.NoError(t, c.CreatePersistent(timeout(t), "topic", "g", oldSettings()))
	cfg := eventstore.SubscriberConfig{Client: c, GroupPolicy: eventstore.GroupRefuse}
	_, err := subscribeLogged(t, cfg)
	var differ *eventstore.GroupSettingsError
	require.ErrorAs(t, err, &differ)
	assert.Equal(t, "topic", differ.Stream)
	assert.Equal(t, "g", differ.Group)
	assert.Len(t, differ.Differences, 2)
	assert.ErrorContains(t, err, "MessageTimeout is 30s instead of never, MaxRetryCount is 10 instead of unlimited")
	assert.Zero(t, groupStats(t, srv).Clients)
	settings := oldSettings()
	cfg.GroupSettings = &settings
	_, err = subscribeLogged(t, cfg)
	require.NoError(t, err)
}

func TestAUserWhoMayNotUpdateTheGroupGetsAnError(t *testing.T) {
	srv := embedded(t, estest.WithUser("jane", "secret"))
	admin := openClient(t, srv.ConnectionString())
	require.NoError(t, admin.CreatePersistent(timeout(t), "topic", "g", oldSettings()))
	jane := openClient(t, "tcp://jane:secret@"+srv.Addr()+"?httpEndpoint="+srv.HTTPAddr())
	_, err := subscribeLogged(t, eventstore.SubscriberConfig{Client: jane, GroupPolicy: eventstore.GroupUpdate})
	require.ErrorIs(t, err, esclient.ErrAccessDenied)
	var differ *eventstore.GroupSettingsError
	require.ErrorAs(t, err, &differ)
}

// TestSettingsThatCannotBeReadAreNoObstacle subscribes as a user who may only consume.
func TestSettingsThatCannotBeReadAreNoObstacle(t *testing.T) {
	for _, persona := range personas {
		srv := embedded(t, estest.WithPersona(persona), estest.WithUser("jane", "secret"))
		admin := openClient(t, srv.ConnectionString())
		require.NoError(t, admin.CreatePersistent(timeout(t), "topic", "g", oldSettings()))
		jane := openClient(t, "tcp://jane:secret@"+srv.Addr())
		for _, policy := range []eventstore.GroupPolicy{
			eventstore.GroupKeep, eventstore.GroupUpdate, eventstore.GroupRefuse,
		} {
			log, err := subscribeLogged(t, eventstore.SubscriberConfig{Client: jane, GroupPolicy: policy})
			require.NoError(t, err)
			assert.Len(t, lines(log, watermill.DebugLogLevel, textUnreadable), 1)
			assert.Empty(t, log.Captured()[watermill.ErrorLogLevel])
		}
		webby := openClient(t, "tcp://jane:secret@"+srv.Addr()+"?httpEndpoint="+srv.HTTPAddr())
		log, err := subscribeLogged(t, eventstore.SubscriberConfig{Client: webby})
		require.NoError(t, err)
		assert.Len(t, lines(log, watermill.ErrorLogLevel, textAttention), 1)
	}
}
