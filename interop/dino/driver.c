/* A plugin by which a script drives Dino: one order a line on standard input, one event a line on standard output.
 *
 *   chat JID         opens a conversation with JID, and makes it a contact: from others Dino fetches nothing by itself
 *   direct yes|no    whether it may be connected to, at 127.0.0.1
 *   send JID PATH    sends a file, as if it had been dropped there
 *   quit             as does the end of the input
 *
 *   driver online JID                        logged in, under this address
 *   driver contact JID                       the server has it in the roster
 *   driver here|gone JID                     somebody has become available, or is no more
 *   driver file in|out ID STATE PATH         a transfer has come to a state: complete, in-progress, not-started or failed
 *
 * DRIVER_JID, DRIVER_PASSWORD, DRIVER_PORT (of the server, at 127.0.0.1) and DRIVER_CA are in the environment. Dino 0.4 comes
 * without headers: what is called is declared here. */
#include <gio/gio.h>
#include <stdio.h>
#include <string.h>

typedef struct _Jid Jid;
typedef struct _Database Database;
typedef struct _Interactor Interactor;
typedef struct _Identity Identity;

GObject *dino_application_get_default(void);
Database *dino_application_get_db(GObject *);
Interactor *dino_application_get_stream_interactor(GObject *);
gpointer dino_stream_interactor_get_module(Interactor *, GType, GBoxedCopyFunc, GDestroyNotify, Identity *);

extern Identity *dino_file_manager_IDENTITY, *dino_conversation_manager_IDENTITY, *dino_presence_manager_IDENTITY,
    *dino_roster_manager_IDENTITY, *xmpp_xep_socks5_bytestreams_module_IDENTITY;
GType dino_file_manager_get_type(void);
GType dino_conversation_manager_get_type(void);
GType dino_presence_manager_get_type(void);
GType dino_roster_manager_get_type(void);

typedef gpointer (*Addresses)(gpointer);
GType xmpp_xep_socks5_bytestreams_module_get_type(void);
gpointer xmpp_xmpp_stream_get_module(gpointer stream, GType, GBoxedCopyFunc, GDestroyNotify, Identity *);
void xmpp_xep_socks5_bytestreams_module_set_local_ip_address_handler(gpointer, Addresses, gpointer, GDestroyNotify);
gpointer gee_array_list_new(GType, GBoxedCopyFunc, GDestroyNotify, gpointer, gpointer, GDestroyNotify);
gboolean gee_abstract_collection_add(gpointer, gconstpointer);

Jid *xmpp_jid_new(const char *, GError **);
char *xmpp_jid_to_string(Jid *);
Jid *dino_entities_account_get_full_jid(GObject *);
GObject *dino_entities_account_new(Jid *, const char *resource, const char *password, const char *alias);
void dino_entities_account_set_enabled(GObject *, gboolean);
void dino_entities_account_persist(GObject *, Database *);

GObject *dino_conversation_manager_create_conversation(GObject *, Jid *, GObject *account, const gint *type);
void dino_conversation_manager_start_conversation(GObject *, GObject *);
void dino_roster_manager_add_jid(GObject *, GObject *account, Jid *, const char *name);
void dino_file_manager_send_file(GObject *, GFile *, GObject *conversation, GAsyncReadyCallback, gpointer);
void dino_file_manager_download_file(GObject *, GObject *, GAsyncReadyCallback, gpointer);

gint dino_entities_file_transfer_get_id(GObject *);
gint dino_entities_file_transfer_get_state(GObject *);
gboolean dino_entities_file_transfer_get_direction(GObject *);
GFile *dino_entities_file_transfer_get_file(GObject *);
gint dino_entities_file_transfer_get_size(GObject *);

GType dino_plugins_root_interface_get_type(void);
typedef struct {
  GTypeInterface parent;
  void (*registered)(GObject *, GObject *application);
  void (*shutdown)(GObject *);
} RootInterface;

/* What Dino fetches by itself is smaller than this. */
#define BY_ITSELF 5000000

static GObject *application, *account, *files;
static gboolean direct = TRUE;

static void tell(const char *format, ...) G_GNUC_PRINTF(1, 2);
static void tell(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("driver ", stdout);
  vprintf(format, arguments);
  putchar('\n');
  fflush(stdout);
  va_end(arguments);
}

static GObject *module(GType type, Identity *identity) {
  Interactor *interactor = dino_application_get_stream_interactor(application);
  return dino_stream_interactor_get_module(interactor, type, (GBoxedCopyFunc)g_object_ref, g_object_unref, identity);
}

/* Names: the server is at its port of 127.0.0.1, whatever the domain. */

static void lookup(GResolver *self, const gchar *name, GCancellable *cancellable, GAsyncReadyCallback done, gpointer data) {
  GTask *task = g_task_new(self, cancellable, done, data);
  if (g_str_has_prefix(name, "_xmpp-client.")) {
    guint16 port = (guint16)g_ascii_strtoull(g_getenv("DRIVER_PORT"), NULL, 10);
    g_task_return_pointer(task, g_list_append(NULL, g_srv_target_new("127.0.0.1", port, 0, 0)), NULL);
  } else {
    g_task_return_new_error(task, G_RESOLVER_ERROR, G_RESOLVER_ERROR_NOT_FOUND, "no record");
  }
  g_object_unref(task);
}

static GList *looked_up(GResolver *self, GAsyncResult *result, GError **error) {
  return g_task_propagate_pointer(G_TASK(result), error);
}

static void resolver_class_init(gpointer class, gpointer data) {
  G_RESOLVER_CLASS(class)->lookup_service_async = lookup;
  G_RESOLVER_CLASS(class)->lookup_service_finish = looked_up;
}

/* The usual one, but for records of services. */
static GResolver *resolver(void) {
  GTypeQuery usual;
  g_type_query(G_OBJECT_TYPE(g_resolver_get_default()), &usual);
  GType type = g_type_register_static_simple(usual.type, "DriverResolver", usual.class_size, resolver_class_init,
                                             usual.instance_size, NULL, 0);
  return g_object_new(type, NULL);
}

/* Events. */

static void tell_state(GObject *transfer) {
  static const char *states[] = {"complete", "in-progress", "not-started", "failed"};
  gint state = dino_entities_file_transfer_get_state(transfer);
  GFile *file = dino_entities_file_transfer_get_file(transfer);
  char *path = file ? g_file_get_path(file) : NULL;
  tell("file %s %d %s %s", dino_entities_file_transfer_get_direction(transfer) ? "out" : "in",
       dino_entities_file_transfer_get_id(transfer), state >= 0 && state < 4 ? states[state] : "unknown", path ? path : "");
  g_free(path);
}

static void state_changed(GObject *transfer, GParamSpec *property, gpointer data) { tell_state(transfer); }

static void transfer_begins(GObject *manager, GObject *transfer, GObject *conversation, gpointer data) {
  g_signal_connect(g_object_ref(transfer), "notify::state", G_CALLBACK(state_changed), NULL);
  tell_state(transfer);
  if (!dino_entities_file_transfer_get_direction(transfer) && dino_entities_file_transfer_get_size(transfer) >= BY_ITSELF)
    dino_file_manager_download_file(files, transfer, NULL, NULL);
}

static void account_added(Interactor *interactor, GObject *added, gpointer data) { account = g_object_ref(added); }

/* Dino's own choice leaves the loopback out. */
static gpointer addresses(gpointer data) {
  gpointer list = gee_array_list_new(G_TYPE_STRING, (GBoxedCopyFunc)g_strdup, g_free, NULL, NULL, NULL);
  if (direct) gee_abstract_collection_add(list, "127.0.0.1");
  return list;
}

static void online(Interactor *interactor, GObject *of, gpointer stream, gpointer data) {
  gpointer streams = xmpp_xmpp_stream_get_module(stream, xmpp_xep_socks5_bytestreams_module_get_type(),
                                                 (GBoxedCopyFunc)g_object_ref, g_object_unref,
                                                 xmpp_xep_socks5_bytestreams_module_IDENTITY);
  xmpp_xep_socks5_bytestreams_module_set_local_ip_address_handler(streams, addresses, NULL, NULL);
  tell("online %s", xmpp_jid_to_string(dino_entities_account_get_full_jid(of)));
}

static void contact(GObject *rosters, GObject *of, Jid *jid, gpointer item, gpointer data) {
  tell("contact %s", xmpp_jid_to_string(jid));
}

static void here(GObject *presences, Jid *jid, GObject *of, gpointer data) { tell("here %s", xmpp_jid_to_string(jid)); }

static void gone(GObject *presences, Jid *jid, GObject *of, gpointer data) { tell("gone %s", xmpp_jid_to_string(jid)); }

/* Orders. */

static GObject *conversation_with(const char *address) {
  const gint chat = 0;
  GError *error = NULL;
  Jid *jid = xmpp_jid_new(address, &error);
  if (!jid || !account) return NULL;
  GObject *conversations = module(dino_conversation_manager_get_type(), dino_conversation_manager_IDENTITY);
  GObject *conversation = dino_conversation_manager_create_conversation(conversations, jid, account, &chat);
  dino_conversation_manager_start_conversation(conversations, conversation);
  return conversation;
}

static gboolean obey(GIOChannel *input, GIOCondition condition, gpointer data) {
  char *line = NULL;
  gsize end = 0;
  if (g_io_channel_read_line(input, &line, NULL, &end, NULL) != G_IO_STATUS_NORMAL) {
    g_application_quit(G_APPLICATION(application));
    return FALSE;
  }
  line[end] = 0;
  char **words = g_strsplit(line, " ", 3);
  if (g_str_equal(words[0], "chat") && words[1]) {
    Jid *jid = xmpp_jid_new(words[1], NULL);
    if (conversation_with(words[1]))
      dino_roster_manager_add_jid(module(dino_roster_manager_get_type(), dino_roster_manager_IDENTITY), account, jid, NULL);
  } else if (g_str_equal(words[0], "direct") && words[1]) {
    direct = g_str_equal(words[1], "yes");
  } else if (g_str_equal(words[0], "send") && words[1] && words[2]) {
    GObject *conversation = conversation_with(words[1]);
    GFile *file = g_file_new_for_path(words[2]);
    if (conversation) dino_file_manager_send_file(files, file, conversation, NULL, NULL);
    g_object_unref(file);
  } else {
    g_application_quit(G_APPLICATION(application));
  }
  g_strfreev(words);
  g_free(line);
  return TRUE;
}

static void registered(GObject *self, GObject *app) {
  GError *error = NULL;
  if (application) return;
  application = app;
  GTlsDatabase *trust = g_tls_file_database_new(g_getenv("DRIVER_CA"), &error);
  if (!trust) g_error("%s", error->message);
  g_tls_backend_set_default_database(g_tls_backend_get_default(), trust);
  g_resolver_set_default(resolver());
  Jid *jid = xmpp_jid_new(g_getenv("DRIVER_JID"), &error);
  if (!jid) g_error("%s", error->message);
  GObject *own = dino_entities_account_new(jid, "dino", g_getenv("DRIVER_PASSWORD"), NULL);
  dino_entities_account_set_enabled(own, TRUE);
  dino_entities_account_persist(own, dino_application_get_db(app));
  files = module(dino_file_manager_get_type(), dino_file_manager_IDENTITY);
  g_signal_connect(files, "received-file", G_CALLBACK(transfer_begins), NULL);
  Interactor *interactor = dino_application_get_stream_interactor(app);
  g_signal_connect(interactor, "account-added", G_CALLBACK(account_added), NULL);
  g_signal_connect(interactor, "stream-negotiated", G_CALLBACK(online), NULL);
  GObject *presences = module(dino_presence_manager_get_type(), dino_presence_manager_IDENTITY);
  g_signal_connect(presences, "show-received", G_CALLBACK(here), NULL);
  g_signal_connect(presences, "received-offline-presence", G_CALLBACK(gone), NULL);
  GObject *rosters = module(dino_roster_manager_get_type(), dino_roster_manager_IDENTITY);
  g_signal_connect(rosters, "updated-roster-item", G_CALLBACK(contact), NULL);
  g_io_add_watch(g_io_channel_unix_new(0), G_IO_IN | G_IO_HUP | G_IO_ERR, obey, NULL);
}

static void ended(GObject *self) {}

static void root_interface_init(RootInterface *interface) {
  interface->registered = registered;
  interface->shutdown = ended;
}

typedef GObject Driver;
typedef GObjectClass DriverClass;
G_DEFINE_TYPE_WITH_CODE(Driver, driver, G_TYPE_OBJECT,
                        G_IMPLEMENT_INTERFACE(dino_plugins_root_interface_get_type(), root_interface_init))
static void driver_class_init(DriverClass *class) {}
static void driver_init(Driver *self) {}

/* It stands in the place of plugins that are not wanted, and so is loaded more than once. */
GType register_plugin(gpointer module) {
  GType known = g_type_from_name("Driver");
  return known ? known : driver_get_type();
}
