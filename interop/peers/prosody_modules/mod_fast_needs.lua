-- What the community's mod_sasl2_fast relies on and Prosody 0.12 does not have yet.
local filters = require "util.filters";
local datetime = require "util.datetime";

-- Who connects, from the stream's start tag: events carry no stream here. It is taken from what comes in, from a start
-- tag in one piece.
local function watch(session)
	filters.add_filter(session, "bytes/in", function (data)
		if data and session.type == "c2s_unauthed" then
			session.stream_from = data:match("<stream:stream[^>]-%sfrom=['\"]([^'\"]+)") or session.stream_from;
		end
		return data;
	end);
end

filters.add_filter_hook(watch);

module:hook("advertise-sasl-features", function (event)
	event.stream = event.stream or { from = event.origin.stream_from };
end, 1000);

-- The time of an expiry, which has fractions of a second: os.date refuses them since Lua 5.3.
local of_whole_seconds = datetime.datetime;
function datetime.datetime(time)
	return of_whole_seconds(time and math.floor(time));
end

-- An attribute of a child.
local stanza = require "util.stanza".stanza_mt.__index;
function stanza:get_child_attr(name, xmlns, attr)
	local child = self:get_child(name, xmlns);
	return child and child.attr[attr];
end

function module.unload()
	stanza.get_child_attr = nil;
	filters.remove_filter_hook(watch);
	datetime.datetime = of_whole_seconds;
end
