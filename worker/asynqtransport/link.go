package asynqtransport

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/roundtrip"
)

// link is the client that asynq is given: its scripts share round trips, and where one of them enqueues, idle workers are told in the same one. All else goes to the
// client as it is.
type link struct {
	redis.UniversalClient
	channel string
	group   *roundtrip.Group[*redis.Cmd]
}

func newLink(client redis.UniversalClient, channel string) *link {
	l := &link{UniversalClient: client, channel: channel}
	l.group = roundtrip.New(l.send)
	return l
}

// EvalSha runs a script, perhaps together with others that are asked for meanwhile.
func (l *link) EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) *redis.Cmd {
	cmd := evalSha(ctx, sha1, keys, args)
	if err := l.group.Do(ctx, cmd); err != nil { // the command may be under way still
		cmd = evalSha(ctx, sha1, keys, args)
		cmd.SetErr(err)
	}
	return cmd
}

func evalSha(ctx context.Context, sha1 string, keys []string, args []any) *redis.Cmd {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, "evalsha", sha1, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	cmd := redis.NewCmd(ctx, append(all, args...)...)
	cmd.SetFirstKeyPos(3)
	return cmd
}

func (l *link) send(ctx context.Context, cmds []*redis.Cmd) {
	_, _ = l.Pipelined(ctx, func(p redis.Pipeliner) error {
		tell := false
		for _, c := range cmds {
			_ = p.Process(ctx, c) // it is queued
			tell = tell || enqueues(c.Args())
		}
		if tell {
			p.Publish(ctx, l.channel, "")
		}
		return nil
	})
}

// enqueues reports whether a command is asynq's script that makes a task wait: its keys are the task's record and the list of those that wait.
func enqueues(args []any) bool {
	if len(args) < 5 || args[2] != 2 {
		return false
	}
	list, _ := args[4].(string)
	return strings.HasSuffix(list, ":pending")
}

// noTask reports whether an answer of asynq's script that takes a task says that none waits.
func noTask(cmd *redis.Cmd) bool { return errors.Is(cmd.Err(), redis.Nil) }
