-- The community's mod_sasl2 asks connections for their TLS session in a way that Prosody 0.12 does not know yet.
module:hook("stream-features", function (event)
	local conn = event.origin.conn;
	if not conn or conn.ssl_info then return; end
	getmetatable(conn).__index.ssl_info = function (self)
		local socket = self:socket();
		return socket.info and socket:info();
	end
end, 1000);
