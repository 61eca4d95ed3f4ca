#include "user_name.h"
#include "user_id.h"
#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Another order or length gives everybody another name. */
static const char first_names[][16] = {
    "Ada",    "Akira", "Amara", "Anders",  "Anouk",  "Arjun",  "Astrid", "Ayla",  "Beatriz", "Bilal", "Björn",
    "Camila", "Chen",  "Chidi", "Clara",   "Dagny",  "Daniel", "Dmitri", "Elif",  "Emeka",   "Emma",  "Esther",
    "Farah",  "Felix", "Fiona", "Gabriel", "Greta",  "Hana",   "Hassan", "Ines",  "Isaac",   "Ivana", "Jamal",
    "Jana",   "Joao",  "Kaito", "Karim",   "Katya",  "Kofi",   "Lars",   "Leila", "Linh",    "Luca",  "Maeve",
    "Malik",  "Mateo", "Mei",   "Mira",    "Naveen", "Nia",    "Noor",   "Olga",  "Omar",    "Paola", "Priya",
    "Rafael", "Rosa",  "Samir", "Sofia",   "Tariq",  "Uma",    "Viktor", "Yara",  "Zoe"};
static const char last_names[][16] = {
    "Abebe",   "Adeyemi", "Alvarez",  "Andersen", "Bauer",   "Bianchi", "Botha",    "Carvalho", "Castro", "Chavez",
    "Costa",   "Dahl",    "Diallo",   "Dubois",   "Eriksen", "Farouk",  "Ferrari",  "Fischer",  "Garcia", "Gupta",
    "Haddad",  "Hansen",  "Horvat",   "Ibrahim",  "Ito",     "Jansen",  "Jensen",   "Kamau",    "Kang",   "Kaplan",
    "Khan",    "Kim",     "Kowalski", "Kumar",    "Larsen",  "Laurent", "Lindgren", "Lopez",    "Mbeki",  "Mendes",
    "Moreau",  "Murphy",  "Nakamura", "Nguyen",   "Novak",   "O'Brien", "Okafor",   "Okoye",    "Olsen",  "Park",
    "Pereira", "Petrov",  "Popescu",  "Rahman",   "Rossi",   "Sato",    "Schmidt",  "Silva",    "Singh",  "Tanaka",
    "Tran",    "Varga",   "Weber",    "Yilmaz"};

const char *user_name(struct str id, char name[USER_NAME_SIZE])
{
    snprintf(name, USER_NAME_SIZE, "%s %s", first_names[user_id_pick(id, STR("first name"), COUNT(first_names))],
             last_names[user_id_pick(id, STR("last name"), COUNT(last_names))]);
    return name;
}
