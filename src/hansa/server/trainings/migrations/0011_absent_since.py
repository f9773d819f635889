from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trainings", "0010_update_factor")]

    operations = [migrations.AddField("participation", "absent_since", models.DateTimeField(blank=True, null=True))]
