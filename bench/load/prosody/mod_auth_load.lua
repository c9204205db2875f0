-- Any user exists and has the password of the option `load_password`. The SCRAM keys are derived once, at start:
-- a login costs the server what it costs with stored keys, without sixteen thousand account files on disk.
local hashes = require "util.hashes";
local new_sasl = require "util.sasl".new;

local password = module:get_option_string("load_password", "secret");
local salt, iterations = "xmpp-load-salt-0", 4096;

local function profile(pbkdf2, hmac, hash)
	local salted = pbkdf2(password, salt, iterations);
	local stored_key, server_key = hash(hmac(salted, "Client Key")), hmac(salted, "Server Key");
	return function () return stored_key, server_key, iterations, salt, true; end
end

local profiles = {
	scram_sha_1 = profile(hashes.pbkdf2_hmac_sha1, hashes.hmac_sha1, hashes.sha1);
	scram_sha_256 = profile(hashes.pbkdf2_hmac_sha256, hashes.hmac_sha256, hashes.sha256);
	plain_test = function (_, _, given) return given == password, true; end;
};

module:provides("auth", {
	test_password = function (_, given) return given == password; end;
	user_exists = function () return true; end;
	get_sasl_handler = function () return new_sasl(module.host, profiles); end;
});
