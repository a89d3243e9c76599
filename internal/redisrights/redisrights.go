// Package redisrights finds out which commands, keys and channels a Redis user is refused, without doing what it asks about: for a look at a
// server's settings. It knows nothing of what the commands are for.
package redisrights

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Need is one thing that a program does on Redis: a whole command, and the right its keys or channels need.
type Need struct {
	Args    []any  // the command and its arguments, as many as it takes
	Key     string // the pattern to allow when its keys are refused, such as "~app:*"; empty: it has none
	Channel string // the pattern to allow when its channels are refused, such as "&app:*"; empty: it has none
}

// command is the name of the need's command as an access list writes it, in lower case: "zadd".
func (n Need) command() string { return strings.ToLower(fmt.Sprint(n.Args[0])) }

// Missing is what a user is refused. The zero value is nothing.
type Missing struct {
	User     string   // who was asked about
	Commands []string // sorted, such as "zadd"
	Keys     []string // sorted patterns, such as "~app:*"
	Channels []string // sorted patterns, such as "&app:*"
	Unknown  []string // commands that the server does not have, or has under another name
}

// None reports whether nothing is refused.
func (m Missing) None() bool {
	return len(m.Commands)+len(m.Keys)+len(m.Channels)+len(m.Unknown) == 0
}

// Text says in one sentence what is refused.
func (m Missing) Text() string {
	var parts []string
	for _, p := range []struct {
		what string
		list []string
	}{{"the commands", m.Commands}, {"the keys", m.Keys}, {"the channels", m.Channels}} {
		if len(p.list) > 0 {
			parts = append(parts, p.what+" "+strings.Join(p.list, " "))
		}
	}
	var text string
	if len(parts) > 0 {
		text = fmt.Sprintf("user %s is refused %s", m.User, strings.Join(parts, ", "))
	}
	if len(m.Unknown) > 0 {
		if text != "" {
			text += "; "
		}
		text += "the server does not know the commands " + strings.Join(m.Unknown, " ")
	}
	return text
}

// Remedy is what to do about it: the ACL SETUSER that gives the missing rights.
func (m Missing) Remedy() string {
	rights := slices.Concat(m.Keys, m.Channels)
	for _, c := range m.Commands {
		rights = append(rights, "+"+c)
	}
	var parts []string
	if len(rights) > 0 {
		parts = append(parts, fmt.Sprintf("ACL SETUSER %s %s (and ACL SAVE, or the same in the server's users file)", m.User, strings.Join(rights, " ")))
	}
	if len(m.Unknown) > 0 {
		parts = append(parts, "take their rename-command out of the server's configuration, or use another server")
	}
	return strings.Join(parts, "; ")
}

// ErrNotAsked says that the server lets the user neither ask about rights (ACL DRYRUN) nor try them without effect (MULTI, DISCARD).
var ErrNotAsked = errors.New("the user may neither ask for rights (ACL DRYRUN) nor try them without effect (MULTI, DISCARD)")

// Find asks the server which needs the client's user is refused: by ACL DRYRUN where that is allowed (Redis 7.0), else by queueing each command in a
// transaction that is then discarded, so that nothing is carried out either way. It takes two or three round trips. Errors: ErrNotAsked, and those of the connection.
func Find(ctx context.Context, c *redis.Client, needs []Need) (Missing, error) {
	conn := c.Conn()
	defer func() { _ = conn.Close() }()
	m := Missing{User: c.Options().Username}
	name, err := conn.Do(ctx, "ACL", "WHOAMI").Text()
	switch {
	case err == nil:
		m.User = name
	case !fromServer(err):
		return Missing{}, err
	case m.User == "":
		m.User = "default"
	}
	if err == nil {
		answers, err := dryRun(ctx, conn, m.User, needs)
		if err != nil {
			return Missing{}, err
		}
		if answers != nil {
			m.sort(needs, answers)
			return m, nil
		}
	}
	answers, err := queued(ctx, conn, needs)
	if err != nil {
		return Missing{}, err
	}
	m.sort(needs, answers)
	return m, nil
}

// dryRun asks by ACL DRYRUN; nil when the server does not have it or does not allow it.
func dryRun(ctx context.Context, conn *redis.Conn, user string, needs []Need) ([]string, error) {
	ask := func(p redis.Pipeliner, n Need) *redis.Cmd {
		return p.Do(ctx, append([]any{"ACL", "DRYRUN", user}, n.Args...)...)
	}
	cmds, err := pipe(ctx, conn, func(p redis.Pipeliner) { ask(p, Need{Args: []any{"PING"}}) })
	if err != nil {
		return nil, err
	}
	if cmds[0].Err() != nil {
		return nil, nil
	}
	cmds, err = pipe(ctx, conn, func(p redis.Pipeliner) {
		for _, n := range needs {
			ask(p, n)
		}
	})
	if err != nil {
		return nil, err
	}
	return texts(cmds), nil
}

// queued asks by queueing the commands in a transaction and discarding it.
func queued(ctx context.Context, conn *redis.Conn, needs []Need) ([]string, error) {
	// Alone first: were MULTI refused, the commands after it would be carried out.
	cmds, err := pipe(ctx, conn, func(p redis.Pipeliner) {
		p.Do(ctx, "MULTI")
		p.Do(ctx, "DISCARD")
	})
	if err != nil {
		return nil, err
	}
	for _, c := range cmds {
		if c.Err() != nil {
			return nil, ErrNotAsked
		}
	}
	cmds, err = pipe(ctx, conn, func(p redis.Pipeliner) {
		p.Do(ctx, "MULTI")
		for _, n := range needs {
			p.Do(ctx, n.Args...)
		}
		p.Do(ctx, "DISCARD")
	})
	if err != nil {
		return nil, err
	}
	return texts(cmds[1 : len(cmds)-1]), nil
}

// pipe sends commands in one go. What the server answers to each stays with it; an error is one of the connection.
func pipe(ctx context.Context, conn *redis.Conn, queue func(redis.Pipeliner)) ([]redis.Cmder, error) {
	cmds, err := conn.Pipelined(ctx, func(p redis.Pipeliner) error {
		queue(p)
		return nil
	})
	for _, c := range cmds {
		if e := c.Err(); e != nil && !fromServer(e) {
			return nil, e
		}
	}
	if err != nil && !fromServer(err) {
		return nil, err
	}
	return cmds, nil
}

// texts are the answers, whether the server gave them as errors or not.
func texts(cmds []redis.Cmder) []string {
	out := make([]string, len(cmds))
	for i, c := range cmds {
		if err := c.Err(); err != nil {
			out[i] = err.Error()
		} else if cmd, ok := c.(*redis.Cmd); ok {
			out[i], _ = cmd.Text()
		}
	}
	return out
}

func fromServer(err error) bool {
	var e redis.Error
	return errors.As(err, &e) && !errors.Is(err, redis.Nil)
}

// named are the names that an answer repeats: they may be anything.
var named = regexp.MustCompile(`'[^']*'`)

// sort takes in the answers to needs.
func (m *Missing) sort(needs []Need, answers []string) {
	for i, n := range needs {
		switch text := strings.ToLower(named.ReplaceAllString(answers[i], "")); {
		case strings.Contains(text, "unknown command"), strings.Contains(text, "command  not found"):
			m.Unknown = append(m.Unknown, n.command())
		case !strings.Contains(text, "no permissions"):
		case strings.Contains(text, "to run the"):
			m.Commands = append(m.Commands, n.command())
		case strings.Contains(text, "channel") && n.Channel != "":
			m.Channels = append(m.Channels, n.Channel)
		case n.Key != "":
			m.Keys = append(m.Keys, n.Key)
		default:
			m.Commands = append(m.Commands, n.command())
		}
	}
	for _, list := range []*[]string{&m.Commands, &m.Keys, &m.Channels, &m.Unknown} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
}
